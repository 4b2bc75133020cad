"""Splitting: a job that takes too long to decide is decided in parts, one after another.

The ledger refuses a decision whose time is 250 ms off when it is written. A job that is no group,
and moves no offsets, is only that many commands: a slow machine decides them in several
transactions, each small enough for the pace that the whole has shown.
"""

from collections.abc import Callable, Sequence

from tollbook.errors import Tampered, Unavailable, Unknown

from application.jobs import Job

AIM_SECONDS = 0.1
"""So long a part should take to decide and to write."""


class TooSlowError(Exception):
    """Jobs took too long to decide, so that the time of their decision was refused."""

    def __init__(self, seconds: float) -> None:
        """Say how long it took to decide them and to be refused."""
        super().__init__(f"deciding took {seconds:.3f} s")
        self.seconds = seconds


def in_parts(job: Job, seconds: float, process: Callable[[Sequence[Job]], None]) -> None:
    """Have a job processed in parts, when the whole of it took so long.

    Nothing is decided after a part of which something may not have happened: a later command may
    rely on an earlier one.
    """
    fitting = int(len(job.items) * AIM_SECONDS / max(seconds, AIM_SECONDS))
    went_on = True
    for part in job.parts(min(max(1, fitting), len(job.items) // 2)):
        if went_on:
            process([part])
            went_on = not any(
                isinstance(each.error, Unavailable | Unknown | Tampered) for each in part.answers()
            )
        else:
            told = "not decided: a command before it in the same request was not done for certain"
            part.fail(Unavailable(told))
    job.finish()
