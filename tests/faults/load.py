"""A seeded load on a ledger that writes down what it sent and what it was answered.

Each line is written after the answer has arrived, as a client would remember it, so a line is a
promise the ledger made. Run as a program, it is the process that the tests kill.
"""

import json
import os
import random
import sys
import threading
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tollbook.errors import TollbookError

from application import committing
from application.answers import Answer
from application.tollbook import Tollbook
from domain.commands import parse
from entrypoints.bootstrap import Database, tollbook_on
from tests.support.databases import MASTER_KEY, query
from tests.support.ledger import MODEL

CUSTOMERS = ("cust-1", "cust-2", "cust-3")
OPEN_CODES = {"unavailable", "overloaded"}
"""Codes that promise: nothing was done, the id is free."""

Line = dict[str, Any]


class Diary:
    """A file of lines, each written whole by one system call, so that a kill cuts none."""

    def __init__(self, path: Path) -> None:
        """Open it for adding lines."""
        self.path = path
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def write(self, line: Line) -> None:
        """Add a line."""
        os.write(self._file, (json.dumps(line) + "\n").encode())

    def lines(self) -> list[Line]:
        """Read every line."""
        return [json.loads(line) for line in self.path.read_text().splitlines()]


class Load:
    """Commands as a busy gateway would send them: reserve, then settle, release or extend."""

    def __init__(self, ledger: Tollbook, diary: Diary, name: str, seed: int) -> None:
        """Send to a ledger and write into a diary; `name` keeps the ids of loads apart."""
        self._ledger = ledger
        self._diary = diary
        self._name = name
        self._seed = seed

    def work(self, number: int, stop: threading.Event, most: int = 10**9) -> None:
        """Send commands until told to stop; each thread has a number of its own."""
        chance = random.Random(f"{self._seed}-{self._name}-{number}")
        before: list[tuple[str, Line]] = []
        for turn in range(most):
            for kind, body in self._errand(chance, f"{self._name}-{number}-{turn}"):
                if stop.is_set():
                    return
                self._send(kind, body)
                before.append((kind, body))
            if chance.random() < 0.1:  # a client that lost its answer asks again
                self._send(*chance.choice(before))

    def _errand(self, chance: random.Random, name: str) -> Iterator[tuple[str, Line]]:
        customer = chance.choice(CUSTOMERS)
        usage = {"input_tokens": chance.randrange(1, 5000), "output_tokens": chance.randrange(500)}
        if chance.random() < 0.15:
            when = "2024-01-01T00:00:00Z"
            key = {"id": f'{name} "é\n', "source": "//meter/'1'", "customer": customer}
            yield "usage", {**key, "model": MODEL, "usage": usage, "occurred_at": when}
            return
        held = {"id": name, "customer": customer, "model": MODEL, "estimate": usage}
        yield "reserve", held
        end = chance.random()
        target = {"id": f"end-{name}", "reservation": name}
        if end < 0.2:
            yield "extend", {**target, "estimate": {"input_tokens": 100}}
        elif end < 0.4:
            yield "release", target
        elif end < 0.9:
            yield "settle", {**target, "usage": usage}

    def _send(self, kind: str, body: Line) -> None:
        self._diary.write({"kind": kind, "body": body})
        try:
            answered = described(self._ledger.run(kind, body, actor="load"))
        except TollbookError as error:
            answered = {"code": error.code, "position": None, "answer": error.problem()}
        except Exception as error:
            answered = {"code": "crash", "position": None, "answer": repr(error)}
        self._diary.write({"kind": kind, "body": body, **answered})


def described(answer: Answer) -> Line:
    """Return everything that must be the same whenever the id is asked for again."""
    problem = answer.problem()
    text = answer.result() if problem is None else problem.problem()
    position = answer.recorded.position if answer.recorded else None
    same: Line = json.loads(json.dumps({"code": answer.code, "position": position, "answer": text}))
    return same


def assert_promises_kept(super_url: str, lines: list[Line]) -> None:
    """Check a diary against what is stored: what was promised is there, and nothing more.

    To be asked before anything in the diary is sent again.
    """
    commands, promises = _by_command(lines)
    stored = {
        (kind, name): position
        for kind, name, position in query(super_url, "SELECT kind, id, position FROM command_ids")
    }
    for key, answers in promises.items():
        assert all(line["code"] != "crash" for line in answers), answers
        recorded = {json.dumps(_told(line)) for line in answers if line["position"] is not None}
        assert len(recorded) <= 1, f"one id, two answers: {recorded}"
        line = commands[key]
        position = stored.get((line["kind"], line["body"]["id"]))
        if recorded:
            assert position == json.loads(min(recorded))["position"], f"lost: {answers}"
        elif answers[-1]["code"] in OPEN_CODES:
            assert position is None, f"said to be undone, yet at {position}: {answers}"


def _by_command(lines: list[Line]) -> tuple[dict[str, Line], dict[str, list[Line]]]:
    """Return the commands of a diary, and for each the answers it got."""
    promises: dict[str, list[Line]] = defaultdict(list)
    commands: dict[str, Line] = {}
    for line in lines:
        key = json.dumps([line["kind"], line["body"]])
        commands[key] = line
        if "code" in line:
            promises[key].append(line)
    return commands, promises


def _told(line: Line) -> Line:
    return {field: line[field] for field in ("code", "position", "answer")}


def assert_same_answers(ledger: Tollbook, lines: list[Line]) -> None:
    """Send every command of a diary once more: who had an answer gets the same one."""
    commands, promises = _by_command(lines)
    keys = list(commands)
    for start in range(0, len(keys), 500):
        some = keys[start : start + 500]
        parsed = [parse(commands[key]["kind"], commands[key]["body"]) for key in some]
        for key, answer in zip(some, ledger.executor.execute(parsed), strict=True):
            for line in promises[key]:
                if line["position"] is not None:
                    assert described(answer) == _told(line)
                    assert answer.repeated


def main(owner_url: str, app_url: str, diary: str, name: str, seed: str) -> None:
    """Load a ledger from several threads until killed, with snapshots far more often."""
    committing.SNAPSHOT_EVERY = 50
    with tollbook_on(Database(owner_url, app_url, MASTER_KEY)) as ledger:
        load = Load(ledger, Diary(Path(diary)), name, int(seed))
        never = threading.Event()
        threads = [threading.Thread(target=load.work, args=(n, never)) for n in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


if __name__ == "__main__":
    main(*sys.argv[1:])
