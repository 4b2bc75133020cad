"""What can go wrong between a wheel and a Triton that answers."""


class TritonUnavailable(Exception):
    """Triton cannot be found or started on this machine; the message says why."""
