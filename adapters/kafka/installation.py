"""Where Kafka's jars and the Java that runs them are, or a sentence why there are none."""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from adapters.kafka.errors import KafkaUnavailable

CHECKOUT = Path(__file__).resolve().parents[2]
SETTING = "TOLLBOOK_KAFKA_HOME"


@dataclass(frozen=True, slots=True)
class Installation:
    """The files of one installed Kafka."""

    java: Path
    jars: tuple[Path, ...]
    classes: Path
    """The archive of loaded classes, which shortens a start; Java does without where it is not."""

    @property
    def class_path(self) -> str:
        """The jars in one order: the archive of classes holds for no other."""
        return os.pathsep.join(map(str, self.jars))


def find(home: Path | None = None) -> Installation:
    """Find the Kafka of a folder, of the setting TOLLBOOK_KAFKA_HOME, or of this checkout."""
    named = os.environ.get(SETTING)
    home = home or (Path(named).absolute() if named else CHECKOUT / ".kafka")
    told = home / "unavailable"
    if told.is_file():
        reason = " ".join(told.read_text("utf-8", errors="replace").split())
        raise KafkaUnavailable(f"Kafka does not install on this machine: {reason}")
    jars = tuple(sorted((home / "jars").glob("*.jar")))
    if not jars:
        raise KafkaUnavailable(
            f"there is no Kafka in {home}; run `make kafka`, or name another folder with {SETTING}"
        )
    return Installation(_java(), jars, home / "classes.jsa")


def _java() -> Path:
    """Find the Java that JAVA_HOME names, else the first of the path."""
    chosen = os.environ.get("JAVA_HOME")
    found = shutil.which("java", path=str(Path(chosen) / "bin") if chosen else None)
    if found is None:
        raise KafkaUnavailable(
            "Kafka needs Java 17 or newer, and there is none on this machine; on Debian 12 and "
            "Ubuntu: apt install openjdk-17-jre-headless"
        )
    return Path(found).absolute()
