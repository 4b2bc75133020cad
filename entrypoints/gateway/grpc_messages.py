"""Messages of KServe over gRPC: what of them is metered, what is rewritten, and what is refused.

The order of outputs and of their packed contents is one and the same, and stays it.
"""

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

from google.protobuf.message import DecodeError
from tollbook.errors import Invalid
from tritonclient.grpc import service_pb2 as pb

from domain import meters
from domain.meters_format import Meter
from domain.tensors import RANK_MAX, TENSORS_MAX, Tensor, Tensors, checked_shape
from entrypoints.gateway.deadly import CLASSIFICATION

WANTS_LAST = "triton_enable_empty_final_response"
IS_LAST = "triton_final_response"
_RESERVED = "triton_"
_SHARED_MEMORY = "shared_memory_"
_PRIORITY = "priority"
_SEQUENCE = "sequence_id"

_CONTENTS = {
    "BOOL": "bool_contents",
    **dict.fromkeys(("INT8", "INT16", "INT32"), "int_contents"),
    "INT64": "int64_contents",
    **dict.fromkeys(("UINT8", "UINT16", "UINT32"), "uint_contents"),
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}
"""Where contents that are not packed stand, by their type."""


_SMALL_BYTES = 262_144
"""Up to this size a request is read as it is: none of them takes long."""
PLAIN_BYTES_MAX = 8_388_608
"""So much of a request may be anything but packed contents, which cost nothing to read."""
_FIELDS_MAX = 4 * TENSORS_MAX + 16
_PACKED_FIELD = pb.ModelInferRequest.DESCRIPTOR.fields_by_name["raw_input_contents"].number
_VARINT, _EIGHT_BYTES, _LENGTH_DELIMITED, _FOUR_BYTES = 0, 1, 2, 5


class UnreadableError(Exception):
    """The server's answer cannot be read."""


def parsed(data: bytes) -> Any:
    """Read a request; raises Invalid for bytes that are none, or that would take long to read."""
    if len(data) > _SMALL_BYTES:
        _check_form(data)
    try:
        return pb.ModelInferRequest.FromString(data)
    except DecodeError:
        rule = "a ModelInferRequest of the KServe protocol"
        raise Invalid.because("message", f"{len(data)} bytes", rule) from None


def _check_form(data: bytes) -> None:
    """Refuse a request that its reader would make gigabytes of: two bytes may stand for a tensor.

    What has no end is left to the reader, which refuses it.
    """
    at = plain = 0
    for _ in range(_FIELDS_MAX):
        if at >= len(data):
            return
        begin = at
        tag, at = _varint(data, at)
        kind, size = tag & 7, {_EIGHT_BYTES: 8, _FOUR_BYTES: 4}.get(tag & 7, 0)
        if kind in (_VARINT, _LENGTH_DELIMITED):
            size, at = _varint(data, at)
        at += 0 if kind == _VARINT else size
        if tag >> 3 != _PACKED_FIELD:
            plain += at - begin
        if plain > PLAIN_BYTES_MAX:
            rule = f"at most {PLAIN_BYTES_MAX} bytes beside raw_input_contents"
            raise Invalid.because("message", None, rule)
    raise Invalid.because("message", None, f"at most {_FIELDS_MAX} fields")


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """Return the number that begins here, and where it ends."""
    value = shift = 0
    for byte in data[at : at + 10]:
        value |= (byte & 127) << shift
        shift += 7
        at += 1
        if byte < 128:
            break
    return value, at


def check(request: Any, meter: Meter) -> None:
    """Refuse what a gateway cannot carry, or what would blind its meter."""
    inputs, outputs, parameters = request.inputs, request.outputs, request.parameters
    for where, given in (("inputs", inputs), ("outputs", outputs), ("parameters", parameters)):
        if len(given) > TENSORS_MAX:
            raise Invalid.because(where, len(given), f"at most {TENSORS_MAX}")
    for name in parameters:
        _check_name("parameters", name)
        if name.startswith(_RESERVED) and name != WANTS_LAST:
            rule = f"no name that begins with {_RESERVED}, but {WANTS_LAST}"
            raise Invalid.because("parameters", name, rule)
    names: set[str] = set()
    for tensor in inputs:
        _check_tensor("inputs", tensor)
        name = tensor.name
        if name in names:
            raise Invalid.because("inputs", name, "named once")
        names.add(name)
    packed = len(request.raw_input_contents)
    _check_contents(request, packed)
    if packed not in (0, len(inputs)):
        rule = f"none, or one for each of the {len(inputs)} inputs"
        raise Invalid.because("raw_input_contents", packed, rule)
    wanted = meters.wanted_outputs(meter)
    for tensor in outputs:
        _check_tensor("outputs", tensor)
        if wanted and tensor.name in wanted and CLASSIFICATION in tensor.parameters:
            field = f"outputs.{tensor.name}.parameters.{CLASSIFICATION}"
            raise Invalid.because(field, "given", "left out: the gateway meters by this output")


def _check_contents(request: Any, packed: int) -> None:
    """Refuse contents in two places, as the server does."""
    named = (each.name for each in request.inputs if packed and each.HasField("contents"))
    if (twice := next(named, None)) is not None:
        words = "contents field must not be specified when using raw_input_contents"
        field = f"inputs.{twice}"
        raise Invalid(f"{words} for '{twice}' for model '{request.model_name[:100]}'", field=field)


def _check_name(where: str, name: str) -> None:
    """Refuse a name of which the server would read another one: for it, a zero ends a text."""
    if "\0" in name:
        raise Invalid.because(f"{where}.name", None, "without a zero character")


def _check_tensor(where: str, tensor: Any) -> None:
    _check_name(where, tensor.name)
    for name in tensor.parameters:
        if name.startswith(_SHARED_MEMORY):
            rule = "without shared memory, which this gateway does not offer"
            raise Invalid.because(f"{where}.{tensor.name}", name, rule)


def metered(request: Any, meter: Meter) -> meters.Request:
    """Return what of a request its meter reads; only those contents are kept that it counts."""
    read = _read_by(meter)
    found: Tensors = {}
    for index, tensor in enumerate(request.inputs):
        name = tensor.name
        shape = checked_shape(name, tensor.shape[: RANK_MAX + 1])
        if name in read:
            contents = request.raw_input_contents
            packed = contents[index] if contents else None
            found[name] = _tensor(tensor, shape, packed)
        else:
            found[name] = Tensor(tensor.datatype, shape)
    return meters.Request(found, parameters(request))


@lru_cache(maxsize=meters.METERS_MAX)
def _read_by(meter: Meter) -> frozenset[str | None]:
    """Return the inputs whose contents a meter reads."""
    counted = [source.input or source.input_bytes for source in meter.sources]
    return frozenset([*counted, *meter.ask.values()])


def _tensor(tensor: Any, shape: tuple[int, ...], packed: bytes | None) -> Tensor:
    if packed is not None:
        return Tensor(tensor.datatype, shape, packed)
    field = _CONTENTS.get(tensor.datatype)
    listed = list(getattr(tensor.contents, field)) if field else []
    return Tensor(tensor.datatype, shape, listed=listed)


def parameters(message: Any) -> dict[str, Any]:
    """Return the parameters of a request or an answer as plain values."""
    found = {}
    for name, value in message.parameters.items():
        chosen = value.WhichOneof("parameter_choice")
        found[name] = getattr(value, chosen) if chosen else None
    return found


def wants_last(request: Any) -> bool:
    """Say whether a client asks for an empty message at the end of its answer."""
    given = request.parameters
    return WANTS_LAST in given and given[WANTS_LAST].bool_param


def in_sequence(request: Any) -> bool:
    """Say whether a request is one of a sequence, whose order counts."""
    given = request.parameters
    if _SEQUENCE not in given:
        return False
    value = given[_SEQUENCE]
    return bool(value.int64_param or value.uint64_param or value.string_param)


def rewritten(
    request: Any, id: str, priority: int, meter: Meter, asks: Mapping[str, str], *, stream: bool
) -> tuple[bytes, frozenset[str]]:
    """Return the bytes for the server, and the outputs that its client has not asked for.

    The inputs of `asks` are added, which bring the outputs under whose names they stand there.
    """
    request.id = id
    given = request.parameters
    given[_PRIORITY].Clear()
    given[_PRIORITY].uint64_param = priority
    if stream:
        given[WANTS_LAST].Clear()
        given[WANTS_LAST].bool_param = True
    for name in dict.fromkeys(asks.values()):
        _add_yes(request, name)
    added: list[str] = []
    outputs, wanted = request.outputs, meters.wanted_outputs(meter)
    if wanted and outputs:
        named = {tensor.name for tensor in outputs}
        added = [name for name in wanted if name not in named]
        for name in added:
            outputs.add(name=name)
    return request.SerializeToString(), frozenset([*added, *asks])


def _add_yes(request: Any, name: str) -> None:
    """Add an input of one true element, packed where the others are."""
    contents = request.raw_input_contents
    if len(contents) == len(request.inputs) > 0:
        request.inputs.add(name=name, datatype="BOOL", shape=[1])
        contents.append(b"\1")
    else:
        request.inputs.add(name=name, datatype="BOOL", shape=[1]).contents.bool_contents[:] = [True]


def answer(data: bytes) -> Any:
    """Read the server's answer to one request."""
    try:
        return pb.ModelInferResponse.FromString(data)
    except DecodeError:
        raise UnreadableError("the server's answer cannot be read") from None


def stream_answer(data: bytes) -> Any:
    """Read one message of a stream."""
    try:
        return pb.ModelStreamInferResponse.FromString(data)
    except DecodeError:
        raise UnreadableError("a message of the server's stream cannot be read") from None


def outputs(response: Any, meter: Meter) -> Tensors:
    """Return the outputs of an answer; only what the meter counts has its contents."""
    contents = response.raw_output_contents
    if contents and len(contents) != len(response.outputs):
        raise UnreadableError("the server's answer has not one content for each output")
    wanted = meters.wanted_outputs(meter)
    found: Tensors = {}
    for index, tensor in enumerate(response.outputs):
        name, shape = tensor.name, tuple(tensor.shape)
        if name in wanted:
            found[name] = _tensor(tensor, shape, contents[index] if contents else None)
        else:
            found[name] = Tensor(tensor.datatype, shape)
    return found


def strip(response: Any, names: Iterable[str]) -> None:
    """Take outputs out of an answer, each with its content."""
    gone = frozenset(names)
    if not gone:
        return
    packed = len(response.raw_output_contents) > 0
    for index in range(len(response.outputs) - 1, -1, -1):
        if response.outputs[index].name in gone:
            del response.outputs[index]
            if packed:
                del response.raw_output_contents[index]


def is_last(response: Any) -> bool:
    """Say whether a message of a stream is the last one of its inference."""
    return IS_LAST in response.parameters and response.parameters[IS_LAST].bool_param


def refusal(id: str, message: str, problem: str | None = None) -> bytes:
    """Return the message of a stream that says a no to one of its requests."""
    told = pb.ModelStreamInferResponse(error_message=message)
    told.infer_response.id = id
    if problem is not None:
        told.infer_response.parameters["tollbook-problem"].string_param = problem
    return bytes(told.SerializeToString())
