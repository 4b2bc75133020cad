"""Whether what Maven fetched is the Kafka that was reviewed, and whether it runs here.

`make kafka` runs this once: every jar must be the one whose SHA-256 is committed, and no other may
lie there. Then a server is started once, which leaves the archive of its classes.
"""

import hashlib
import sys
import tempfile
from pathlib import Path

from adapters.kafka.errors import KafkaUnavailable
from adapters.kafka.installation import CHECKOUT, find
from adapters.kafka.server import KafkaServer

SUMS = CHECKOUT / "requirements" / "kafka.sha256"


def expected(sums: Path) -> dict[str, str]:
    """Read a file as `sha256sum` writes it: the sum of each jar by its name."""
    lines = (line.split() for line in sums.read_text("utf-8").splitlines())
    return {name: told for told, name in lines}


def check(jars: Path, sums: Path = SUMS) -> None:
    """Refuse a folder that holds anything but the jars that were reviewed."""
    wanted = expected(sums)
    found = {path.name: path for path in jars.iterdir()} if jars.is_dir() else {}
    offences = [f"{name} is missing" for name in sorted(wanted.keys() - found.keys())]
    offences += [f"{name} was never reviewed" for name in sorted(found.keys() - wanted.keys())]
    for name in sorted(wanted.keys() & found.keys()):
        if hashlib.sha256(found[name].read_bytes()).hexdigest() != wanted[name]:
            offences.append(f"{name} is another than was reviewed")
    if offences:
        raise KafkaUnavailable("; ".join(offences))


def main(home: str) -> int:
    """Check the jars of a folder, and try them."""
    place = Path(home).absolute()
    try:
        check(place / "jars")
        with tempfile.TemporaryDirectory(prefix="tollbook-kafka-") as folder:
            KafkaServer(Path(folder), installation=find(place)).record_classes()
    except KafkaUnavailable as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
