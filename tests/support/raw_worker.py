"""A Faust worker that writes down each raw record it is given: its partition, offset and value.

Run as a program with a broker's address, a topic and a file. It shows that the pinned Faust works
on a broker at all; the product's own worker resumes from the ledger instead.
"""

import sys
from pathlib import Path
from typing import Any

import faust


def worker(address: str, topic: str, file: Path) -> Any:
    """Make the app of one worker."""
    app = faust.App(
        f"raw-{topic}",
        broker=f"kafka://{address}",
        value_serializer="raw",
        web_enabled=False,
        topic_allow_declare=False,
        topic_disable_leader=True,
        consumer_auto_offset_reset="earliest",
        broker_session_timeout=10,
        broker_heartbeat_interval=2,
        broker_commit_interval=0.2,
        datadir=str(file.parent),
    )

    @app.agent(app.topic(topic, value_serializer="raw", key_serializer="raw"))
    async def write_down(stream: Any) -> None:
        with file.open("ab", buffering=0) as out:
            async for event in stream.events():
                place = f"{event.message.partition} {event.message.offset} "
                out.write(place.encode() + event.value + b"\n")

    return app


if __name__ == "__main__":
    made = worker(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
    made.finalize()
    sys.argv[1:] = ["worker", "--loglevel", "warn", "--without-web"]
    made.main()
