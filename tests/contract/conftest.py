"""The databases and the Redis that the tests of this folder run on."""

from tests.support.databases import (  # noqa: F401 - fixtures are found by their names here
    database,
    database_url,
    embedded_database,
    plain_database,
)
from tests.support.redis import redis  # noqa: F401 - the same
