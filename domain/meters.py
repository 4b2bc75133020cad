"""Metering an inference: what to hold before it runs, and what it used, by a model's meter.

What outputs and response parameters say is summed over all messages of an answer, unless the meter
goes by the last one. Device time comes from elsewhere (`domain.device_time`), and is added at the
end.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from tollbook.amounts import parse_micro
from tollbook.errors import Invalid

from domain.meters_format import Meter, Metered, Source
from domain.tensors import Tensors, extent, size_in_bytes, texts, total
from domain.units import MEASURED, QUANTITY_MAX, Quantities

MICRO = 1_000_000
METERS_MAX = 4_096
"""So many meters' own properties are remembered; a gateway has fewer."""


class Request(NamedTuple):
    """What of a request can be metered."""

    inputs: Tensors
    parameters: Mapping[str, Any]


class UnmeteredError(Exception):
    """An answer does not tell what its meter asks for, so that somebody has to look."""


class Produced(NamedTuple):
    """What the messages of an answer have told so far."""

    counts: Quantities
    messages: int = 0
    cached: bool = False


NOTHING = Produced({})


@lru_cache(maxsize=METERS_MAX)
def wanted_outputs(meter: Meter) -> tuple[str, ...]:
    """Return the outputs without which an answer cannot be metered, in a fixed order."""
    named = [source.output or source.output_shape for source in meter.used]
    return tuple(dict.fromkeys(name for name in (*named, meter.request_id_output) if name))


@lru_cache(maxsize=METERS_MAX)
def waits_for_traces(meter: Meter) -> bool:
    """Say whether a part of the usage is known only from the server's traces."""
    return any(source.traces for source in meter.used)


def estimate(meter: Metered, request: Request) -> Quantities:
    """Return what to hold; raises Invalid where the request does not tell what it must."""
    found: Quantities = {}
    for unit, source in {**meter.usage, **meter.estimate}.items():
        if source.formula is None:
            found[unit] = _known_before(unit, source, request)
    return _with_formulas(meter, found)


def _known_before(unit: str, source: Source, request: Request) -> int:
    name = source.input or source.input_bytes or source.input_shape or source.parameter
    try:
        quantity = _before(unit, source, request)
    except ValueError as error:
        raise Invalid.because(
            str(name), None, f"a tensor that can be metered: it {error}"
        ) from None
    if quantity is None:
        raise Invalid.because(str(name), None, f"given: {unit} are held by it")
    if source.most is not None:
        quantity = min(quantity, source.most)
    if not 0 <= quantity <= QUANTITY_MAX:
        raise Invalid.because(str(name), quantity, f"between 0 and {QUANTITY_MAX}")
    return quantity


def _before(unit: str, source: Source, request: Request) -> int | None:
    """Return what an input, a parameter or a constant says, or the default for an absent one."""
    if source.constant is not None:
        return _constant(unit, source.constant)
    if source.parameter is not None:
        return _parameter(request.parameters.get(source.parameter), source.default)
    tensor = request.inputs.get(source.input or source.input_bytes or source.input_shape or "")
    if tensor is None:
        return source.default
    if source.input_bytes is not None:
        return size_in_bytes(tensor)
    return total(tensor) if source.input is not None else extent(tensor, source.axis)


def _constant(unit: str, constant: int | str) -> int:
    return parse_micro(str(constant)) if unit in MEASURED else int(constant)


def _parameter(value: Any, default: int | None) -> int | None:
    if value is None:
        return default
    if type(value) is str and value.isascii() and value.isdigit() and len(value) < 20:
        return int(value)
    if type(value) is not int:
        raise ValueError("is no whole number")
    return value


def added(
    meter: Metered, before: Produced, outputs: Tensors, parameters: Mapping[str, Any], own_id: str
) -> Produced:
    """Return what is produced after one more message; raises UnmeteredError where it does not tell.

    A message without any output adds nothing: it only says that a stream is over.
    """
    if not outputs:
        return before
    counts = dict(before.counts)
    for unit, source in meter.usage.items():
        told = _told(source, outputs, parameters)
        if told is not None:
            counts[unit] = told if source.messages == "last" else counts.get(unit, 0) + told
    return Produced(
        _chargeable(counts),
        before.messages + 1,
        before.cached or _is_cached(meter, outputs, own_id),
    )


def _told(source: Source, outputs: Tensors, parameters: Mapping[str, Any]) -> int | None:
    """Return what one message says of a source; None for sources that messages do not tell."""
    name = source.output or source.output_shape or source.response_parameter
    if name is None:
        return None
    try:
        if source.response_parameter is not None:
            told = _parameter(parameters.get(name), None)
        else:
            tensor = outputs.get(name)
            if tensor is None:
                told = None
            else:
                told = total(tensor) if source.output else extent(tensor, source.axis)
    except ValueError as error:
        raise UnmeteredError(f"{name} {error}") from None
    if told is None:
        raise UnmeteredError(f"{name} is not in the answer")
    if not 0 <= told <= QUANTITY_MAX:
        raise UnmeteredError(f"{name} says {told}, which is not between 0 and {QUANTITY_MAX}")
    return told


def _is_cached(meter: Metered, outputs: Tensors, own_id: str) -> bool:
    tensor = outputs.get(meter.request_id_output or "")
    if tensor is None:
        return False
    try:
        seen = texts(tensor)
    except ValueError as error:
        raise UnmeteredError(f"{meter.request_id_output} {error}") from None
    return any(each != own_id.encode() for each in seen)


def usage(
    meter: Metered, request: Request, produced: Produced, device_time: int | None = None
) -> Quantities:
    """Return what is charged for an answer; `device_time` in millionths of a second.

    Raises UnmeteredError where device time is charged and not known. What no message told is zero.
    """
    if produced.cached and meter.cache_hit == "free":
        return dict.fromkeys(meter.usage, 0)
    found: Quantities = {}
    for unit, source in meter.usage.items():
        if source.traces:
            found[unit] = _device_time(device_time, cached=produced.cached)
        elif source.formula is None:
            known = _told_by_request(unit, source, request)
            found[unit] = produced.counts.get(unit, 0) if known is None else known
    if produced.cached and meter.cache_hit == "as_cached_input":
        cached = found.pop("input_tokens", 0) + found.get("cached_input_tokens", 0)
        found = {**found, "cached_input_tokens": cached}
    return _chargeable(_with_formulas(meter, found))


def _chargeable(found: Quantities) -> Quantities:
    """Return quantities that the ledger takes; raises UnmeteredError for others.

    An estimate is bounded, and what is charged need not be: nobody would be told of it.
    """
    for unit, quantity in found.items():
        if quantity > QUANTITY_MAX:
            raise UnmeteredError(f"{unit} come to {quantity}, which is more than {QUANTITY_MAX}")
    return found


def known_before(meter: Metered, request: Request) -> Quantities:
    """Return the part of the usage that a request tells by itself, its answer apart."""
    told: Quantities = {}
    for unit, source in sorted(meter.usage.items()):
        if source.is_told_before:
            known = _known_or_none(unit, source, request)
            if known is not None:
                told[unit] = known
    return told


def _known_or_none(unit: str, source: Source, request: Request) -> int | None:
    try:
        known = _told_by_request(unit, source, request) or 0
    except UnmeteredError:  # it is met again when the usage is counted
        return None
    return known if known <= QUANTITY_MAX else None


def _told_by_request(unit: str, source: Source, request: Request) -> int | None:
    try:
        return _before(unit, source, request)
    except ValueError as error:
        raise UnmeteredError(f"what the request says of {unit} {error}") from None


def without_answer(meter: Metered, known: Quantities, device_time: int) -> Quantities | None:
    """Return the usage of an inference whose answer is lost; None where only that could tell."""
    found: Quantities = {}
    for unit, source in meter.usage.items():
        if source.traces:
            found[unit] = device_time
        elif source.formula is None:
            if unit not in known:
                return None
            found[unit] = known[unit]
    try:
        return _chargeable(_with_formulas(meter, found))
    except UnmeteredError:
        return None


def with_device_time(meter: Metered, found: Quantities, device_time: int) -> Quantities:
    """Return a usage again, now that its device time is known."""
    kept = {
        unit: quantity
        for unit, quantity in found.items()
        if unit not in meter.usage or meter.usage[unit].formula is None
    }
    timed = {unit: device_time for unit, source in meter.usage.items() if source.traces}
    return _chargeable(_with_formulas(meter, {**kept, **timed}))


def _device_time(known: int | None, *, cached: bool) -> int:
    if known is None:
        if cached:
            return 0
        raise UnmeteredError("the server's traces do not tell its device time")
    return known


def _with_formulas(meter: Metered, found: Quantities) -> Quantities:
    """Add what formulas give, and order the units; rounded half up to millionths."""
    for unit, source in meter.usage.items():
        if source.formula is not None and unit not in found:
            found[unit] = _formula(source.formula, found)
    return {unit: found[unit] for unit in sorted(found)}


def _formula(formula: Mapping[str, str], found: Quantities) -> int:
    result = 0
    for unit, factor in formula.items():
        quantity = MICRO if unit == "constant" else found.get(unit, 0)
        scale = 1 if unit in MEASURED or unit == "constant" else MICRO
        result += parse_micro(factor) * quantity * scale
    return (2 * result + MICRO) // (2 * MICRO)
