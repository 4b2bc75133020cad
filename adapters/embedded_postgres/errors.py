"""What can go wrong between a folder and its running server: two errors to tell apart."""


class EmbeddedPostgresError(Exception):
    """Something kept the embedded server from serving; the message says what to do."""


class ServerUnavailable(EmbeddedPostgresError):
    """The server cannot be reached or started on this machine at present (exit code 4)."""


class WrongDirectory(EmbeddedPostgresError):
    """The folder that was named cannot be used as a ledger's folder (exit code 2)."""
