"""librdkafka's mock broker, from the wheel of its Python client: what stands in for Kafka.

It lives in this process and in memory alone. It speaks to producers, consumers and groups; it
makes no topics when a client asks, keeps 5 MiB of a partition, and knows no transactions.
"""

import ctypes
import importlib.metadata
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_PRODUCER = 0
_ERROR_BYTES = 512
_LIBRARY = re.compile(r"librdkafka[-.\w]*\.(so|dylib)")


def _library() -> Any:
    """Load the library that the wheel carries beside its package."""
    files = importlib.metadata.files("confluent-kafka") or []
    (path,) = (file.locate() for file in files if _LIBRARY.match(file.name))
    library = ctypes.CDLL(str(path))
    for name in ("rd_kafka_new", "rd_kafka_conf_new", "rd_kafka_mock_cluster_new"):
        getattr(library, name).restype = ctypes.c_void_p
    library.rd_kafka_mock_cluster_bootstraps.restype = ctypes.c_char_p
    return library


class MockKafka:
    """One mock broker and its topics."""

    def __init__(self, library: Any, cluster: ctypes.c_void_p) -> None:
        """Take a cluster that runs."""
        self._library = library
        self._cluster = cluster

    @property
    def address(self) -> str:
        """Where clients reach it, as host and port."""
        told: bytes = self._library.rd_kafka_mock_cluster_bootstraps(self._cluster)
        return told.decode()

    def make_topic(self, name: str, partitions: int = 1) -> None:
        """Make a topic."""
        failed = self._library.rd_kafka_mock_topic_create(
            self._cluster, name.encode(), partitions, 1
        )
        assert not failed, f"{name}: error {failed} of librdkafka"


@contextmanager
def a_mock_kafka() -> Iterator[MockKafka]:
    """Run a mock broker."""
    library = _library()
    words = ctypes.create_string_buffer(_ERROR_BYTES)
    settings = ctypes.c_void_p(library.rd_kafka_conf_new())
    # Below a warning, and it would say at each start that it has no other broker to go to.
    library.rd_kafka_conf_set(settings, b"log_level", b"4", words, _ERROR_BYTES)
    client = ctypes.c_void_p(library.rd_kafka_new(_PRODUCER, settings, words, _ERROR_BYTES))
    assert client.value, words.value.decode()
    cluster = ctypes.c_void_p(library.rd_kafka_mock_cluster_new(client, 1))
    try:
        library.rd_kafka_mock_group_initial_rebalance_delay_ms(cluster, 0)
        yield MockKafka(library, cluster)
    finally:
        library.rd_kafka_mock_cluster_destroy(cluster)
        library.rd_kafka_destroy(client)
