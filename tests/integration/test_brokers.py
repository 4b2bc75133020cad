"""What the stream asks of any broker: of a real Kafka, and of the mock broker where there is none.

It holds for both, so that tests which need no more run on either. What only Kafka does (topics by
an administrator, records that outlive a kill) is in test_kafka_server.py.
"""

import secrets
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.kafka import Broker, read, send
from tests.support.triton import wait_until

ROOT = Path(__file__).resolve().parents[2]


def a_topic(broker: Broker, partitions: int = 1) -> str:
    """Make a topic of the test's own."""
    name = f"topic-{secrets.token_hex(8)}"
    broker.make_topic(name, partitions)
    return name


@contextmanager
def a_worker(broker: Broker, topic: str, file: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run a Faust worker that writes down what it is given."""
    module = "tests.support.raw_worker"
    command = [sys.executable, "-m", module, broker.address, topic, str(file)]
    with (file.parent / "worker.log").open("ab") as log:
        worker = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log)
    try:
        yield worker
    finally:
        worker.kill()
        worker.wait()


def lines(file: Path) -> list[str]:
    """Read what a worker has written down."""
    return file.read_text("utf-8").splitlines() if file.exists() else []


def test_the_records_of_a_key_stay_in_one_partition_and_in_order(broker: Broker) -> None:
    topic = a_topic(broker, partitions=4)
    expected: dict[int, list[bytes]] = {}
    for key in (b"a", b"b", b"c", b"d", b"e"):
        values = [b"%s %d" % (key, number) for number in range(20)]
        (partition,) = {place for place, _ in send(broker.address, topic, values, key=key)}
        expected.setdefault(partition, []).extend(values)
    assert len(expected) > 1
    for partition, values in expected.items():
        assert read(broker.address, topic, len(values), partition=partition) == values


def test_a_faust_worker_is_given_every_raw_record_once_and_goes_on_after_an_orderly_end(
    broker: Broker, tmp_path: Path
) -> None:
    topic, file = a_topic(broker), tmp_path / "seen"
    broken = [b"{", b"\xc3\xa9", b"null", b"no json"]  # a decoder of Faust's would stumble on them
    send(broker.address, topic, broken)
    with a_worker(broker, topic, file) as worker:
        wait_until(lambda: len(lines(file)) >= len(broken))
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(60) == 0
    send(broker.address, topic, [b"later"])
    with a_worker(broker, topic, file):
        wait_until(lambda: len(lines(file)) > len(broken))
    expected = [f"0 {place} {value.decode()}" for place, value in enumerate([*broken, b"later"])]
    assert lines(file) == expected
