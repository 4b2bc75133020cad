"""A real Redis for one folder: found or installed by a wheel, started and stopped by us."""
