"""The recorder test cases that the eventsourcing library ships, made importable.

Their module imports the library's cipher, which needs a package that we do not use; the library
has the same cipher over `cryptography`, which we do. Importing it also resets Python's warning
filters, so that is done where it is undone.
"""

import sys
import warnings

from eventsourcing import cryptography

with warnings.catch_warnings():
    sys.modules.setdefault("eventsourcing.cipher", cryptography)
    from eventsourcing.tests.persistence import (
        AggregateRecorderTestCase,
        ApplicationRecorderTestCase,
        NonInterleavingNotificationIDsBaseCase,
        RecorderTestCase,
    )

__all__ = [
    "AggregateRecorderTestCase",
    "ApplicationRecorderTestCase",
    "NonInterleavingNotificationIDsBaseCase",
    "RecorderTestCase",
]
