"""The new process of `license_validate_cold`: validates licences that it has never seen.

`python -m benchmarks.validating OWNER_URL APP_URL LICENSES VALIDATIONS`; writes the milliseconds
within which 99 of 100 are answered, with 64 in flight.
"""

import random
import sys
import threading
import time

from application.executor import Executor
from application.jobs import Item, Job
from benchmarks.licensed import key_hash
from benchmarks.load import PATIENCE_SECONDS
from domain.license_commands import ValidateLicense
from entrypoints.bootstrap import Database, tollbook_on
from entrypoints.demo.job import MODEL

AT_ONCE = 64


class Validations:
    """Keeps validations in flight: each answer sends the next one."""

    def __init__(self, executor: Executor, chosen: list[int]) -> None:
        """Drive an executor; the licences are chosen by their numbers."""
        self._executor = executor
        self._chosen = chosen
        self._sent = 0
        self._done = threading.Event()
        self.latencies: list[float] = []
        self.failure: str | None = None

    def run(self) -> None:
        """Validate everything once; raises RuntimeError when one was not done."""
        for _ in range(AT_ONCE):
            self._send()
        finished = self._done.wait(PATIENCE_SECONDS)
        if self.failure is not None or not finished:
            raise RuntimeError(f"a validation was not done: {self.failure}")

    def _send(self) -> None:
        if self._sent == len(self._chosen):
            return
        number, name = self._chosen[self._sent], f"v{self._sent:08d}"
        self._sent += 1
        license, key = f"lic-{number:08d}", key_hash(number)
        command = ValidateLicense(id=name, license=license, model=MODEL, license_key=key)
        sent = time.perf_counter()

        def answered(job: Job) -> None:
            self.latencies.append(time.perf_counter() - sent)
            answer = job.items[0].answer
            if answer is None or not answer.done:
                self.failure = str(answer and answer.problem())
                self._done.set()
            elif len(self.latencies) == len(self._chosen):
                self._done.set()
            else:
                self._send()

        self._executor.submit(Job([Item(command)], on_done=answered))


def main(owner_url: str, app_url: str, licenses: str, validations: str) -> None:
    """Open the ledger as a serving process does, and validate licences chosen at random."""
    chance = random.Random(1)
    chosen = [chance.randrange(int(licenses)) for _ in range(int(validations))]
    with tollbook_on(Database(owner_url, app_url, None), serving=True) as tollbook:
        load = Validations(tollbook.executor, chosen)
        load.run()
    latencies = sorted(load.latencies)
    print(f"{latencies[len(latencies) * 99 // 100] * 1000:.3f}", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
