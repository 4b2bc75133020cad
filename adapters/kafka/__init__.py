"""A real Kafka for one folder: its jars by Maven, started and stopped by us."""
