"""What `generate` says: JSON without shapes, in which every name is an input or a parameter.

Its answers hold what the server says, but for the client's own id in place of ours, and for outputs
that the gateway asked for.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from tollbook.errors import Invalid

from domain import meter_asks, meters
from domain.meters_format import Meter
from domain.tensors import Tensors
from entrypoints.gateway.http_infer import ALLOWED, check_parameters, client_id
from entrypoints.gateway.http_json import Member, closed, dumped, opened
from entrypoints.gateway.http_models import Description, tensor
from entrypoints.http.problems import BadRequest

_PARAMETERS = "parameters"
_OPEN = frozenset({_PARAMETERS})
_OURS = ("id", "priority", ALLOWED)


class Prompt(NamedTuple):
    """What a request asks for."""

    members: list[Member]
    id: str
    """The client's; empty where it gave none."""
    request: meters.Request
    asks: Mapping[str, str]
    """The inputs that have to be added, by the outputs that they bring."""


class Told(NamedTuple):
    """One message of an answer."""

    text: str
    """As the client gets it."""
    outputs: Tensors
    parameters: dict[str, Any]
    error: str | None


def prompt(body: bytes, described: Description, meter: Meter) -> Prompt:
    """Read a request; a name may stand at the top or among the parameters, and nowhere twice."""
    try:
        members = opened(body.decode(), _OPEN)
    except UnicodeDecodeError:
        raise BadRequest("the body is not in UTF-8") from None
    flat: list[Member] = []
    for member in members:
        if member.name != _PARAMETERS:
            flat.append(member)
        elif member.raw.startswith("{"):
            flat += member.value
        else:
            raise Invalid.because(_PARAMETERS, None, "an object")
    named = {member.name: member.value for member in flat if member.name != "id"}
    if len(named) < len([member for member in flat if member.name != "id"]):
        raise Invalid.because(_PARAMETERS, None, "without the names that stand beside it")
    inputs = {
        name: tensor(described.inputs, name, value)
        for name, value in named.items()
        if name in described.inputs
    }
    parameters = {name: value for name, value in named.items() if name not in inputs}
    check_parameters(parameters)
    id = client_id(next((member for member in members if member.name == "id"), None))
    asks = meter_asks.lacking(meter, inputs)
    return Prompt(members, id, meters.Request(inputs, parameters), asks)


def forwarded(asked: Prompt, id: str, priority: int) -> bytes:
    """Return the body for the server: with our id, the licence's priority, and what is asked."""
    found = [f'"id":{dumped(id)}', f'"priority":{priority}']
    found += [f"{dumped(name)}:true" for name in dict.fromkeys(asked.asks.values())]
    for member in asked.members:
        if member.name == _PARAMETERS:
            kept = closed([each.text for each in member.value if each.name not in _OURS])
            found.append(f'"{_PARAMETERS}":{kept}')
        elif member.name not in _OURS:
            found.append(member.text)
    return closed(found).encode()


def told(data: bytes, described: Description, asked: Prompt) -> Told:
    """Read one message of an answer, and make it its client's; raises Invalid, ValueError."""
    members = opened(data.decode("utf-8", "surrogateescape"), strict=False)
    kept: list[str] = []
    for member in members:
        if member.name != "id":
            if member.name not in asked.asks:
                kept.append(member.text)
        elif asked.id:
            kept.append(f'"id":{dumped(asked.id)}')
    values = {member.name: member.value for member in members}
    error = values.get("error") if "model_name" not in values else None
    outputs = {
        name: tensor(described.outputs, name, value)
        for name, value in values.items()
        if name in described.outputs
    }
    parameters = values.get(_PARAMETERS, {})
    return Told(
        closed(kept),
        {} if error is not None else outputs,
        parameters if isinstance(parameters, dict) else {},
        None if error is None else str(error),
    )
