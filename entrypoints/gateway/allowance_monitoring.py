"""Allowances as operators see them: what came from them, and what is in their way."""

from collections.abc import Iterable

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from entrypoints.gateway.allowing import Allowing
from entrypoints.gateway.core import Gateway

_PREFIX = "tollbook_gateway_allowance"


class AllowanceCounts(Collector):
    """What a gateway counts of its allowances; no label names a customer."""

    def __init__(self, allowing: Allowing) -> None:
        """Read what it counts whenever somebody asks."""
        self._allowing = allowing

    def collect(self) -> Iterable[Metric]:
        """Yield each metric with its value now."""
        it = self._allowing
        open_here = it.holding.open.values()
        for name, told, value in (
            ("slices_open", "Slices that this gateway knows and is not done with.", len(open_here)),
            ("tallies_late", "Slices that wait for the tallies of other gateways.",
             it.closer.late()),
            ("ledger_silence_seconds", "For how long the ledger was not heard.",
             it.following.silence()),
            ("redis_away", "1 while what hands out places does not answer.", it.link.is_away),
        ):  # fmt: skip
            yield GaugeMetricFamily(f"{_PREFIX}_{name}", told, value=value)
        draws = CounterMetricFamily(
            f"{_PREFIX}_draws", "Inferences by what came of asking for a place.", labels=("how",)
        )
        for how, count in it.draws.items():
            draws.add_metric((how,), count)
        ends = CounterMetricFamily(
            f"{_PREFIX}_slices", "Slices set aside here, by what became of them.", labels=("how",)
        )
        for how, count in it.holding.ends.items():
            ends.add_metric((how,), count)
        yield from (draws, ends)


def allowance_state(gateway: Gateway) -> str:
    """Say in a word or two how a gateway's allowances go."""
    allowing = gateway.emergency.allowing
    return "off" if allowing is None else allowing.state()
