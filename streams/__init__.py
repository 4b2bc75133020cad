"""Usage in motion: what travels on Kafka, and the worker that settles it."""
