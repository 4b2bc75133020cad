"""What can go wrong between a program and a Redis that answers."""


class RedisUnavailable(Exception):
    """Redis cannot be found or started on this machine; the message says why."""
