"""Messages over gRPC: rewriting loses nothing and reorders nothing."""

import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tollbook.errors import Invalid
from tritonclient.grpc import service_pb2 as pb

from domain import tensors
from domain.meters_format import Meter, Source
from entrypoints.gateway import grpc_messages as messages
from entrypoints.gateway.grpc_inference import caller

METER = Meter(
    name="m",
    usage={"input_tokens": Source(output="IN"), "output_tokens": Source(output="OUT")},
    estimate={"input_tokens": Source(input="LIMIT"), "output_tokens": Source(constant=1)},
    request_id_output="ID",
)
OURS, THEIRS = ["IN", "OUT", "ID"], ["A", "B", "C"]

_names = st.lists(st.sampled_from(OURS + THEIRS), min_size=1, unique=True)


@given(named=_names, order=st.permutations(OURS + THEIRS))
def test_outputs_that_were_added_are_taken_out_and_the_rest_stays_as_it_was(
    named: list[str], order: list[str]
) -> None:
    asked = pb.ModelInferRequest(model_name="m", id="mine")
    for name in named:
        asked.outputs.add(name=name)
    data, added = messages.rewritten(asked, "inf_1", 5, METER, {}, stream=False)
    sent = pb.ModelInferRequest.FromString(data)
    wanted = [each.name for each in sent.outputs]
    assert wanted[: len(named)] == named
    assert set(wanted) == {*named, *OURS}
    response = pb.ModelInferResponse()
    for name in order:
        if name in wanted:
            response.outputs.add(name=name)
            response.raw_output_contents.append(name.encode())
    messages.strip(response, added)
    assert {each.name for each in response.outputs} == set(named)
    assert [each.name.encode() for each in response.outputs] == list(response.raw_output_contents)
    assert [each.name for each in response.outputs] == [name for name in order if name in named]


def test_where_no_outputs_are_named_none_is_added() -> None:
    data, added = messages.rewritten(
        pb.ModelInferRequest(model_name="m"), "inf_1", 5, METER, {}, stream=True
    )
    sent = pb.ModelInferRequest.FromString(data)
    assert (list(sent.outputs), added) == ([], frozenset())
    assert sent.id == "inf_1"
    assert sent.parameters["priority"].uint64_param == 5
    assert sent.parameters["triton_enable_empty_final_response"].bool_param


FIELDS: list[tuple[str, str, list[Any], int]] = [
    ("INT8", "int_contents", [1, 5], 6),
    ("INT16", "int_contents", [300], 300),
    ("INT32", "int_contents", [70_000, 1], 70_001),
    ("INT64", "int64_contents", [2**40], 2**40),
    ("UINT8", "uint_contents", [255, 1], 256),
    ("UINT16", "uint_contents", [65_535], 65_535),
    ("UINT32", "uint_contents", [2**32 - 1], 2**32 - 1),
    ("UINT64", "uint64_contents", [2**63], 2**63),
]


@pytest.mark.parametrize(("datatype", "field", "values", "total"), FIELDS)
def test_contents_of_every_whole_type_are_counted_as_packed_ones_are(
    datatype: str, field: str, values: list[Any], total: int
) -> None:
    asked = pb.ModelInferRequest(model_name="m")
    tensor = asked.inputs.add(name="LIMIT", datatype=datatype, shape=[len(values)])
    getattr(tensor.contents, field).extend(values)
    found = messages.metered(asked, METER).inputs["LIMIT"]
    assert tensors.total(found) == total
    packed = pb.ModelInferRequest(model_name="m")
    packed.inputs.add(name="LIMIT", datatype=datatype, shape=[len(values)])
    code = {"INT8": "b", "INT16": "h", "INT32": "i", "INT64": "q"}
    codes = {**code, **{f"U{name}": each.upper() for name, each in code.items()}}
    packed.raw_input_contents.append(struct.pack(f"<{len(values)}{codes[datatype]}", *values))
    assert tensors.total(messages.metered(packed, METER).inputs["LIMIT"]) == total


def test_contents_that_no_meter_reads_are_not_kept() -> None:
    asked = pb.ModelInferRequest(model_name="m")
    asked.inputs.add(name="IMAGE", datatype="UINT8", shape=[1_000_000])
    asked.raw_input_contents.append(bytes(1_000_000))
    (found,) = messages.metered(asked, METER).inputs.values()
    assert found == tensors.Tensor("UINT8", (1_000_000,))


@pytest.mark.parametrize("shape", [[-1], [2**41], [1] * 17])
def test_a_shape_that_no_tensor_has_is_invalid(shape: list[int]) -> None:
    asked = pb.ModelInferRequest(model_name="m")
    asked.inputs.add(name="LIMIT", datatype="INT32", shape=shape)
    with pytest.raises(Invalid):
        messages.metered(asked, METER)


def test_an_answer_with_a_content_too_few_is_not_read_as_if_it_counted_nothing() -> None:
    response = pb.ModelInferResponse(raw_output_contents=[b"\1\0\0\0"])
    response.outputs.add(name="IN", datatype="INT32", shape=[1])
    response.outputs.add(name="OUT", datatype="INT32", shape=[1])
    with pytest.raises(messages.UnreadableError):
        messages.outputs(response, METER)


class Context:
    """What of a call tells who asks."""

    def __init__(self, peer: str, *pairs: tuple[str, str]) -> None:
        self._peer, self._pairs = peer, pairs

    def peer(self) -> str:
        return self._peer

    def invocation_metadata(self) -> tuple[tuple[str, str], ...]:
        return self._pairs


@pytest.mark.parametrize(
    ("peer", "address"),
    [
        ("ipv4:192.0.2.7:50123", "192.0.2.7"),
        ("ipv6:%5B2001:db8::1%5D:50123", "2001:db8::1"),
        ("ipv6:[::1]:50123", "::1"),
        ("unix:/run/x", None),
        ("unix:", None),
    ],
)
def test_the_address_is_the_one_that_is_seen(peer: str, address: str | None) -> None:
    context: Any = Context(peer, ("tollbook-license-key", "k"), ("cookie", "x"))
    who = caller(context)
    assert (who.address, who.passed) == (address, ())
