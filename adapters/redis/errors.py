"""What can go wrong between a program and a Redis that answers."""


class RedisUnavailable(Exception):
    """Redis cannot be found, started or used; the message says why."""
