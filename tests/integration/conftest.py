"""The databases and the inference server that the tests of this folder run on."""

from tests.support.databases import (  # noqa: F401 - fixtures are found by their names here
    database,
    database_to_read,
    database_url,
    embedded_database,
    plain_database,
)
from tests.support.kafka import broker, kafka  # noqa: F401 - the same
from tests.support.redis import redis  # noqa: F401 - the same
from tests.support.triton import triton  # noqa: F401 - the same
