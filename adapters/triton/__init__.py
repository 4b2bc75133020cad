"""A real Triton for one folder: installed by a wheel, started and stopped by us."""
