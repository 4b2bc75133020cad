"""How Tollbook reaches the world: one file or folder for each outside thing."""
