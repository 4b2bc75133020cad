"""The database and the broker that the tests of this folder run on."""

from tests.streams.settling import stream  # noqa: F401 - found by its name here
from tests.support.databases import embedded_database  # noqa: F401 - the same
from tests.support.kafka import kafka  # noqa: F401 - the same
