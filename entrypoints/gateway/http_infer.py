"""`infer` over HTTP: requests and answers as JSON heads, with tensors in binary behind them.

What goes to the server is the client's own text but for the id, the priority, the outputs that the
meter needs beside those that the client names, and the inputs that bring them. The answer comes
back without these.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from tollbook.errors import Invalid

from domain.tensors import TENSORS_MAX, Tensor, Tensors, check_texts, checked_shape
from entrypoints.gateway.deadly import CLASSIFICATION
from entrypoints.gateway.http_json import VALUES_MAX, Member, Piece, closed, dumped, opened
from entrypoints.http.problems import BadRequest

_OPEN_IN_REQUESTS = frozenset({"inputs", "outputs", "parameters"})
_OPEN_IN_ANSWERS = frozenset({"outputs"})
_SHARED = "shared_memory_"
RESERVED = "triton_"
ALLOWED = "triton_enable_empty_final_response"


class Split(NamedTuple):
    """A body: its JSON head, and what stands behind it."""

    head: str
    tail: bytes


class Inference(NamedTuple):
    """What a request asks for."""

    members: list[Member]
    id: str
    """The client's; empty where it gave none."""
    parameters: dict[str, Any]
    inputs: Tensors
    outputs: list[Piece]
    """Those that the client names; where there are none, it wants all of them."""
    names: frozenset[str]
    """The names of these."""


class Restored(NamedTuple):
    """An answer as the client gets it, and what the meter gets of it."""

    head: bytes
    tail: bytes
    binary: bool
    """Whether the head's length has to be told, because tensors stand behind it."""
    outputs: Tensors
    parameters: dict[str, Any]


def split(body: bytes, header_length: str | None, errors: str = "strict") -> Split:
    """Divide a body at the length that its header tells; raises BadRequest where it cannot be."""
    length = len(body)
    if header_length is not None:
        if not (header_length.isascii() and header_length.isdigit() and len(header_length) < 12):
            raise BadRequest("Inference-Header-Content-Length is no whole number")
        length = int(header_length)
    if not 0 < length <= len(body):
        rule = f"Inference-Header-Content-Length must be from 1 to {len(body)}, the body's length"
        raise BadRequest(f"{rule}: a raw body without a JSON head is not offered")
    try:
        return Split(body[:length].decode("utf-8", errors), body[length:])
    except UnicodeDecodeError:
        raise BadRequest("the JSON head is not in UTF-8") from None


def inference(parts: Split) -> Inference:
    """Read a request; raises Invalid for whatever the server and the meter could read apart."""
    members = opened(parts.head, _OPEN_IN_REQUESTS)
    by_name = {member.name: member for member in members}
    id = client_id(by_name.get("id"))
    parameters = {}
    if (member := by_name.get("parameters")) is not None:
        if not member.raw.startswith("{"):
            raise Invalid.because("parameters", None, "an object")
        parameters = {each.name: each.value for each in member.value}
        check_parameters(parameters)
    outputs = _pieces(by_name.get("outputs"), "outputs")
    for each in outputs:
        _check_parts(each.value, "outputs")
    inputs = _inputs(_pieces(by_name.get("inputs"), "inputs"), parts.tail)
    names = frozenset(each.value["name"] for each in outputs)
    return Inference(members, id, parameters, inputs, outputs, names)


def client_id(member: Member | None) -> str:
    """Return the client's id, empty where it gave none."""
    if member is None:
        return ""
    if not isinstance(member.value, str):
        raise Invalid.because("id", None, "a text")
    dumped(member.value)
    return member.value


def check_parameters(parameters: dict[str, Any]) -> None:
    """Refuse the parameters that are the server's own."""
    for name in parameters:
        if name.startswith(RESERVED) and name != ALLOWED:
            raise Invalid.because(f"parameters.{name}", None, "no name that Triton reserves")


def forwarded(
    asked: Inference, id: str, priority: int, wanted: Sequence[str], asks: Mapping[str, str]
) -> tuple[bytes, tuple[str, ...]]:
    """Return the head for the server, and the outputs that its client has not asked for.

    The inputs of `asks` are added, which bring the outputs under whose names they stand there.
    """
    added = tuple(name for name in wanted if name not in asked.names) if asked.outputs else ()
    given: list[Piece] = next((each.value for each in asked.members if each.name == "inputs"), [])
    inputs = [
        *(each.raw for each in given),
        *(f'{{"name":{dumped(name)},{_YES}}}' for name in dict.fromkeys(asks.values())),
    ]
    found = [f'"id":{dumped(id)}', f'"parameters":{_parameters(asked, priority)}']
    for member in asked.members:
        if member.name in ("id", "parameters") or (member.name == "inputs" and asks):
            continue
        if member.name == "outputs" and added:
            extra = [f'{{"name":{dumped(name)},"parameters":{_BINARY}}}' for name in added]
            raw = ",".join([*(each.raw for each in asked.outputs), *extra])
            found.append(f'"outputs":[{raw}]')
        else:
            found.append(member.text)
    if asks:
        found.append(f'"inputs":[{",".join(inputs)}]')
    return closed(found).encode(), (*added, *asks)


_YES = '"datatype":"BOOL","shape":[1],"data":[true]'
_BINARY = '{"binary_data":true}'


def _parameters(asked: Inference, priority: int) -> str:
    """Return the client's parameters with the priority of its licence."""
    member = next((each for each in asked.members if each.name == "parameters"), None)
    own: list[Member] = member.value if member is not None else []
    kept = [each.text for each in own if each.name not in ("priority", ALLOWED)]
    return closed([*kept, f'"priority":{priority}'])


def check_wanted(asked: Inference, wanted: Sequence[str]) -> None:
    """Refuse an output in a form that the meter could not read."""
    for name in classified(asked) & frozenset(wanted):
        field = f"outputs.{name}.parameters.{CLASSIFICATION}"
        raise Invalid.because(field, "given", "left out: the gateway meters by this output")


def classified(asked: Inference) -> frozenset[str]:
    """Return the outputs that are asked for as classes."""
    named = (each.value for each in asked.outputs)
    return frozenset(it["name"] for it in named if CLASSIFICATION in it.get("parameters", {}))


def restored(parts: Split, added: Sequence[str], id: str) -> Restored:
    """Return an answer with the client's id and without the outputs that were added."""
    head: list[str] = []
    parameters: dict[str, Any] = {}
    outputs: Tensors = {}
    tail: list[bytes] = []
    at, binary = 0, False
    for member in opened(parts.head, _OPEN_IN_ANSWERS, strict=False):
        if member.name == "id":
            if id:
                head.append(f'"id":{dumped(id)}')
            continue
        if member.name != "outputs":
            head.append(member.text)
            if member.name == "parameters":
                parameters = _object(member)
            continue
        kept: list[str] = []
        for each in _pieces(member, "outputs"):
            name = each.value["name"]
            data = _behind(each.value, f"outputs.{name}", parts.tail, at)
            at += len(data or b"")
            outputs[name] = _tensor(each.value, name, data)
            if name in added:
                continue
            kept.append(each.raw)
            if data is not None:
                binary = True
                tail.append(data)
        head.append(f'"outputs":[{",".join(kept)}]')
    if at != len(parts.tail):
        raise ValueError("the server's answer has another size than its head says")
    written = closed(head).encode("utf-8", "surrogateescape")
    return Restored(written, b"".join(tail), binary, outputs, parameters)


def _object(member: Member) -> dict[str, Any]:
    """Return what a member says, which has to be an object."""
    if not isinstance(member.value, dict):
        raise Invalid.because(member.name, None, "an object")
    return member.value


def _pieces(member: Member | None, field: str) -> list[Piece]:
    """Return the objects with names of an array; raises Invalid for anything else."""
    if member is None:
        return []
    if not member.raw.startswith("["):
        raise Invalid.because(field, None, "an array")
    if len(member.value) > TENSORS_MAX:
        raise Invalid.because(field, len(member.value), f"at most {TENSORS_MAX}")
    for each in member.value:
        value = each.value
        if not isinstance(value, dict) or not isinstance(value.get("name"), str):
            raise Invalid.because(field, None, "an array of objects with a name each")
        if "\0" in value["name"]:
            raise Invalid.because(f"{field}.name", None, "without a zero character")
        if not isinstance(value.get("parameters", {}), dict):
            raise Invalid.because(f"{field}.parameters", None, "an object")
    return list(member.value)


def _check_parts(value: dict[str, Any], field: str) -> None:
    """Refuse shared memory, which is another process's business."""
    for name in value.get("parameters", {}):
        if name.startswith(_SHARED):
            rule = "left out: shared memory is not offered"
            raise Invalid.because(f"{field}.parameters.{name}", "given", rule)


def _inputs(given: list[Piece], tail: bytes) -> Tensors:
    """Return the inputs, those in binary cut from behind the head, which they fill exactly."""
    found: Tensors = {}
    at = 0
    for each in given:
        value, name = each.value, each.value["name"]
        _check_parts(value, "inputs")
        if name in found:
            raise Invalid.because("inputs", name, "an array of inputs with a name each")
        data = _behind(value, f"inputs.{name}", tail, at)
        at += len(data or b"")
        found[name] = made = _tensor(value, name, data)
        if data is None and math.prod(made.shape) > VALUES_MAX:  # the server makes room for them
            rule = f"at most {VALUES_MAX} elements, or in binary"
            raise Invalid.because(f"{name}.shape", list(made.shape), rule)
        if data is not None:
            check_texts(name, made)
    if at != len(tail):
        raise BadRequest(f"behind the JSON head stand {len(tail)} bytes, of which inputs take {at}")
    return found


def _behind(value: dict[str, Any], field: str, tail: bytes, at: int) -> bytes | None:
    """Return what stands behind the head for a tensor; None for one that is in the head."""
    size = value.get("parameters", {}).get("binary_data_size")
    if size is None:
        return None
    if type(size) is not int or not 0 <= size <= len(tail) - at or "data" in value:
        rule = "the size of what stands behind the head for it"
        raise Invalid.because(f"{field}.binary_data_size", None, rule)
    return tail[at : at + size]


def _tensor(value: dict[str, Any], name: str, data: bytes | None) -> Tensor:
    """Make a tensor; raises Invalid for a datatype, a shape or data that are none."""
    datatype, shape, listed = value.get("datatype"), value.get("shape"), value.get("data")
    if not isinstance(datatype, str) or not isinstance(shape, list):
        raise Invalid.because(name, None, "given with its datatype and shape")
    if data is None and not isinstance(listed, list):
        raise Invalid.because(f"{name}.data", None, "an array")
    return Tensor(datatype, checked_shape(name, shape), data, listed)
