"""Random runs through pipelines, beside ordinary reservations, on a ledger in memory."""

import random
from typing import Any

from tollbook.times import format_instant

from adapters.clock import TraceClock
from application.answers import Answer
from application.executor import Executor
from application.jobs import Item
from domain.commands import parse
from domain.pipeline_events import PipelineReserved
from domain.stages import stage_id
from tests.integration.audit_workload import NEW_YEAR, SECOND, Rows, rows_of
from tests.support.memory_store import MemoryEventStore

MODELS = ("small", "large", "seen")
"""The last one has no price, so that a stage can be refused for it."""
STAGES = ("retrieve", "rank", "write", "check")
LICENSES = ("lic-1", "lic-2")
CUSTOMERS = ("acme", "bolt")
KEYS = {"lic-1": "1" * 32, "lic-2": "2" * 32}
BOOK = {
    "id": "default",
    "currency": "USD",
    "effective_from": "2020-01-01T00:00:00Z",
    "models": [
        {
            "name": "small",
            "prices": {"requests": "0.000003", "input_tokens": "0.7", "gpu_seconds": "0.01"},
        },
        {
            "name": "large",
            "prices": {"requests": "0.000001", "gpu_seconds": "0.000005"},
            "tiers": [
                {"up_to": 900, "input": "11", "output": "33"},
                {"input": "5.000001", "output": "15"},
            ],
            "max_output_tokens": 400,
        },
    ],
}


class PipelineWorkload:
    """Sends random commands about pipelines; the same seed sends the same ones."""

    def __init__(self, seed: int) -> None:
        """Publish prices, two customers with little money, their licences, and pipelines."""
        self.random = random.Random(seed)
        self.store = MemoryEventStore("trace")
        self.executor = Executor(self.store, TraceClock(0))
        self.now = NEW_YEAR
        self.number = 0
        self.answers: list[Answer] = []
        self.declared: dict[str, list[str]] = {}
        """The stages of each pipeline, as they were sent last."""
        self._prepare()

    def run(self, steps: int) -> Rows:
        """Send commands in small batches and return all events."""
        for _ in range(steps):
            self.now += self.random.choice((0, 0, 1, SECOND, 20 * SECOND))
            count = self.random.choice((1, 1, 2, 5))
            items = [self._any() for _ in range(count)]
            self.answers += self.executor.execute(
                [item for item in items if item], timeout=None, atomic=self.random.random() < 0.1
            )
        self.executor.close()
        return rows_of(self.store)

    def send(self, kind: str, /, **body: Any) -> Answer:
        """Send one command now."""
        (answer,) = self.executor.execute([Item(parse(kind, body), at=self.now)], timeout=None)
        self.answers.append(answer)
        return answer

    def _prepare(self) -> None:
        book = {"id": f"default:{BOOK['effective_from']}", "book": BOOK}
        self.send("publish_prices", **{**book, "id": "default:2020-01-01T00:00:00.000000Z"})
        for customer, license in zip(CUSTOMERS, LICENSES, strict=True):
            terms = {"name_sealed": "", "currency": "USD", "credit_limit": "0.02"}
            self.send("create_customer", id=customer, **terms)
            self.send(
                "issue_license",
                id=license,
                customer=customer,
                template="enterprise",
                deployment="saas",
                key_hash=KEYS[license],
                key_hint="abcd",
                overrides={
                    "limits": [{"id": "rate", "unit": "requests", "limit": 6, "per": "minute"}]
                },
            )
        for name in ("rag", "scan"):
            self._publish(name)

    def _id(self, prefix: str) -> str:
        """Return an id, seldom one that was taken before."""
        self.number += self.random.random() < 0.97
        return f"{prefix}{self.number}"

    def _item(self, kind: str, /, **body: Any) -> Item:
        return Item(parse(kind, body), at=self.now)

    def _any(self) -> Item | None:
        makers = (
            self._reserve,
            self._settle,
            self._release,
            self._on_a_stage,
            self._grant,
            self._plain,
            self._republish,
        )
        (made,) = self.random.choices(makers, (30, 22, 7, 16, 9, 6, 2))
        return made()

    def _usage(self) -> dict[str, Any]:
        usage: dict[str, Any] = {"input_tokens": self.random.choice((0, 1, 250, 1000))}
        others: list[dict[str, Any]] = [{}, {"requests": 1}, {"gpu_seconds": "0.25"}, {"pages": 1}]
        other = self.random.choices(others, (10, 6, 3, 1))[0]
        return {**usage, **other}

    def _stages(self) -> list[dict[str, Any]]:
        names = self.random.sample(STAGES, self.random.randint(1, 4))
        weights = (20, 20, 1)
        return [
            {
                "name": name,
                "model": self.random.choices(MODELS, weights)[0],
                "licensed": self.random.random() < 0.2,
                **({"estimate": {"input_tokens": 100}} if self.random.random() < 0.7 else {}),
            }
            for name in names
        ]

    def _publish(self, name: str) -> None:
        self.send("publish_pipeline", **self._pipeline(name))

    def _republish(self) -> Item:
        return self._item("publish_pipeline", **self._pipeline(self.random.choice(("rag", "scan"))))

    def _pipeline(self, name: str) -> dict[str, Any]:
        stages = self._stages()
        self.declared[name] = [stage["name"] for stage in stages]
        return {"id": self._id("p"), "pipeline": name, "stages": stages}

    def _reserve(self) -> Item:
        name, pipeline = self._id("run"), self.random.choice(("rag", "scan"))
        customer = self.random.choice(CUSTOMERS)
        own = LICENSES[CUSTOMERS.index(customer)]
        stages = [
            {
                "stage": stage,
                **({"estimate": self._usage()} if self.random.random() < 0.8 else {}),
                **({"license": own} if self.random.random() < 0.7 else {}),
                **({"facts": {"environment": "development"}} if len(stage) == 5 else {}),
            }
            for stage in STAGES
            if stage in self.declared[pipeline] and self.random.random() < 0.9
        ]
        ttl = {"ttl_seconds": self.random.choice((5, 60))} if self.random.random() < 0.5 else {}
        body = {"id": name, "customer": customer, "pipeline": pipeline, "stages": stages}
        return self._item("reserve_pipeline", **body, **ttl)

    def _settle(self) -> Item | None:
        held = self._held()
        if held is None:
            return None
        pipeline, name, known = held
        some = self.random.sample(known, self.random.randint(1, len(known)))
        some += self.random.choices(([], ["nowhere"]), (20, 1))[0]
        stages = [{"stage": stage, "usage": self._usage()} for stage in some]
        body: dict[str, Any] = {"id": self._id("s"), "pipeline": pipeline, "reserved": name}
        if self.random.random() < 0.3:
            (off,) = self.random.choices((0, 5, 6, -5, -30), (5, 1, 1, 1, 1))
            body["occurred_at"] = format_instant(self.now + off * SECOND)
        return self._item("settle_pipeline", **body, stages=stages)

    def _held(self) -> tuple[str, str, list[str]] | None:
        """Return one of the newest runs that were reserved: its pipeline, id and stages."""
        events = [answer.recorded.event for answer in self.answers[-60:] if answer.recorded]
        held = [event for event in events if isinstance(event, PipelineReserved)]
        if not held:
            return None
        event = self.random.choice(held[-6:])
        return event.pipeline, event.reserved, [stage for stage, _ in event.held]

    def _release(self) -> Item | None:
        held = self._held()
        if held is None:
            return None
        pipeline, name, _ = held
        return self._item("release_pipeline", id=self._id("r"), pipeline=pipeline, reserved=name)

    def _on_a_stage(self) -> Item | None:
        """Send an ordinary command on one stage of a run."""
        held = self._held()
        if held is None:
            return None
        reservation = stage_id(held[1], self.random.choice(held[2]))
        kind = self.random.choice(("settle", "settle", "release", "extend"))
        body: dict[str, Any] = {"id": self._id("o"), "reservation": reservation}
        if kind == "settle":
            body |= {"usage": self._usage(), "final": self.random.random() < 0.6}
        if kind == "extend":
            body |= {"estimate": self._usage()}
        return self._item(kind, **body)

    def _grant(self) -> Item:
        amount = self.random.choice(("0.0001", "0.002", "0.01"))
        more: dict[str, Any] = {}
        if self.random.random() < 0.4:
            more["expires_at"] = format_instant(self.now + 30 * SECOND)
        if self.random.random() < 0.3:
            more["models"] = ["large"]
        customer = self.random.choice(CUSTOMERS)
        body = {"id": self._id("g"), "customer": customer, "amount": amount, "kind": "paid"}
        return self._item("issue_grant", **body, **more)

    def _plain(self) -> Item:
        """Reserve as anybody does, seldom under an id that a stage has or would have."""
        name = self._id("run")
        if self.random.random() < 0.5:
            name = stage_id(name, self.random.choice(STAGES))
        body = {"id": name, "customer": self.random.choice(CUSTOMERS), "model": "small"}
        return self._item("reserve", **body, estimate=self._usage())
