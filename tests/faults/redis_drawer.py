"""A gateway of the fault tests, in a process of its own: it draws, publishes and counts.

Run as `python redis_drawer.py URL NAME FILE`: until it is told to end it writes to the file what
it published, what it drew of which slice and how often it got no answer.
"""

import asyncio
import json
import signal
import sys
from collections import Counter
from pathlib import Path

from adapters.redis.allowances import RedisAllowances
from adapters.redis.errors import RedisUnavailable
from application.allowing import Drawn, Slice

KEYS = ("a", "b", "c")
DRAWERS = 8
PLACES = 150
NOW, UNTIL = 1_000_000, 60_000_000


class Drawer:
    """One gateway: several draws at once, and a new slice wherever there is none."""

    def __init__(self, url: str, name: str) -> None:
        """Begin having drawn nothing."""
        self.allowances = RedisAllowances(url, "ledger", name)
        self.name = name
        self.published: dict[str, int] = {}
        self.drawn: Counter[str] = Counter()
        self.answers: Counter[str] = Counter()

    async def draw(self, number: int) -> None:
        """Draw again and again."""
        while True:
            key = KEYS[number % len(KEYS)]
            try:
                answer = await self.allowances.draw(key, 1 + number % 2, NOW)
                if isinstance(answer, Drawn):
                    self.drawn[answer.reservation] += answer.count
                    self.answers["drawn"] += 1
                else:
                    self.answers[answer.why] += 1
                    await self.publish(key)
            except RedisUnavailable:
                self.answers["unavailable"] += 1
            await asyncio.sleep(0.002)

    async def publish(self, key: str) -> None:
        """Set a new slice aside."""
        new = Slice(f"{self.name}-{len(self.published)}", PLACES, UNTIL, "{}")
        self.published[new.reservation] = new.inferences
        await self.allowances.publish(key, new, NOW)

    async def write(self, file: Path) -> None:
        """Write down what was counted so far, ten times a second."""
        while True:
            self.keep(file)
            await asyncio.sleep(0.1)

    def keep(self, file: Path) -> None:
        """Write down what was counted so far."""
        said = {
            "published": self.published,
            "drawn": self.drawn,
            "answers": self.answers,
            "rewound": self.allowances.rewound,
        }
        part = file.with_suffix(".part")
        part.write_text(json.dumps(said), "utf-8")
        part.replace(file)


async def main(url: str, name: str, file: Path) -> None:
    """Draw until told to end."""
    drawer, stop = Drawer(url, name), asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    tasks = [asyncio.create_task(drawer.draw(number)) for number in range(DRAWERS)]
    tasks.append(asyncio.create_task(drawer.write(file)))
    ended = asyncio.create_task(stop.wait())
    await asyncio.wait([*tasks, ended], return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        if task.done():
            task.result()
        task.cancel()
    await asyncio.wait(tasks)
    drawer.keep(file)
    await drawer.allowances.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], Path(sys.argv[3])))
