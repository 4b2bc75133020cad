"""The HTTP API: its routes, who may use them, its limits, and the server that carries it."""
