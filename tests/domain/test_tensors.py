"""What tensors say: sums, texts and shapes, packed as the KServe protocol packs them."""

import struct
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tollbook.errors import Invalid

from domain.tensors import (
    ELEMENTS_MAX,
    WHOLE,
    Tensor,
    checked_shape,
    extent,
    flat,
    size_in_bytes,
    texts,
    total,
)

FORMATS = {
    "UINT8": ("B", 0, 2**8 - 1),
    "UINT16": ("H", 0, 2**16 - 1),
    "UINT32": ("I", 0, 2**32 - 1),
    "UINT64": ("Q", 0, 2**64 - 1),
    "INT8": ("b", -(2**7), 2**7 - 1),
    "INT16": ("h", -(2**15), 2**15 - 1),
    "INT32": ("i", -(2**31), 2**31 - 1),
    "INT64": ("q", -(2**63), 2**63 - 1),
}


def packed_texts(items: list[bytes]) -> bytes:
    return b"".join(struct.pack("<I", len(item)) + item for item in items)


@given(st.data(), st.sampled_from(sorted(FORMATS)))
def test_a_sum_is_the_same_packed_and_listed(data: st.DataObject, datatype: str) -> None:
    code, _, most = FORMATS[datatype]
    numbers = data.draw(st.lists(st.integers(0, most), max_size=20))
    packed = b"".join(struct.pack(f"<{code}", number) for number in numbers)
    shape = (len(numbers),)
    assert total(Tensor(datatype, shape, packed)) == sum(numbers)
    assert total(Tensor(datatype, shape, listed=numbers)) == sum(numbers)
    assert total(Tensor(datatype, shape, listed=[[numbers]])) == sum(numbers)


@given(st.data(), st.sampled_from(["INT8", "INT16", "INT32", "INT64"]))
def test_an_element_below_zero_hides_no_other(data: st.DataObject, datatype: str) -> None:
    code, least, _ = FORMATS[datatype]
    numbers = [100, data.draw(st.integers(least, -1))]
    for tensor in (
        Tensor(datatype, (2,), struct.pack(f"<2{code}", *numbers)),
        Tensor(datatype, (2,), listed=numbers),
    ):
        with pytest.raises(ValueError, match="negative"):
            total(tensor)


def test_every_type_of_whole_numbers_counts() -> None:
    assert set(FORMATS) == WHOLE


@pytest.mark.parametrize("datatype", ["FP16", "FP32", "FP64", "BF16", "BOOL", "BYTES", "NEW"])
def test_other_types_count_nothing(datatype: str) -> None:
    with pytest.raises(ValueError, match="counts nothing"):
        total(Tensor(datatype, (1,), b"\x01\x00\x00\x00"))


@pytest.mark.parametrize(
    "tensor",
    [
        Tensor("INT64", (1,), b"\x00" * 7),
        Tensor("INT32", (1,), listed=[1.5]),
        Tensor("INT32", (1,), listed=[True]),
        Tensor("INT32", (1,), listed=["7"]),
        Tensor("INT32", (1,), listed=[None]),
    ],
)
def test_what_is_no_whole_number_is_not_summed(tensor: Tensor) -> None:
    with pytest.raises(ValueError, match=r"part of an element|no whole numbers"):
        total(tensor)


@given(st.lists(st.binary(max_size=40), max_size=10))
def test_texts_come_back_as_they_were_packed(items: list[bytes]) -> None:
    tensor = Tensor("BYTES", (len(items),), packed_texts(items))
    assert texts(tensor) == items
    assert size_in_bytes(tensor) == sum(map(len, items))


@given(st.lists(st.binary(min_size=1, max_size=9), min_size=1, max_size=5), st.data())
def test_texts_that_were_cut_are_refused(items: list[bytes], data: st.DataObject) -> None:
    whole = packed_texts(items)
    cut = data.draw(st.integers(1, len(items[-1]) + 3))
    with pytest.raises(ValueError, match="part of"):
        texts(Tensor("BYTES", (len(items),), whole[:-cut]))


def test_more_texts_than_anybody_waits_for_are_refused() -> None:
    assert len(texts(Tensor("BYTES", (1,), bytes(4 * ELEMENTS_MAX)))) == ELEMENTS_MAX
    with pytest.raises(ValueError, match="more than 1000000 elements"):
        texts(Tensor("BYTES", (1,), bytes(4 * ELEMENTS_MAX + 4)))


@pytest.mark.parametrize(
    "made",
    [
        lambda count: Tensor("UINT8", (count,), b"\1" * count),
        lambda count: Tensor("UINT8", (count,), listed=[1] * count),
        lambda count: Tensor("UINT8", (2, count // 2), listed=[[1] * (count // 2)] * 2),
    ],
)
def test_more_numbers_than_anybody_waits_for_are_refused(made: Callable[[int], Tensor]) -> None:
    assert total(made(ELEMENTS_MAX)) == ELEMENTS_MAX
    with pytest.raises(ValueError, match="more than 1000000 elements"):
        total(made(ELEMENTS_MAX + 2))


def test_a_length_beyond_the_end_is_refused_and_takes_no_memory() -> None:
    with pytest.raises(ValueError, match="part of an element"):
        texts(Tensor("BYTES", (1,), struct.pack("<I", 2**32 - 1) + b"x"))


def test_texts_in_json_are_counted_in_bytes() -> None:
    assert size_in_bytes(Tensor("BYTES", (2,), listed=["grün", "a"])) == 6


@pytest.mark.parametrize(("axis", "length"), [(None, 24), (0, 2), (1, 3), (2, 4), (-1, 4), (-3, 2)])
def test_an_axis_has_its_length_and_a_shape_its_product(axis: int | None, length: int) -> None:
    assert extent(Tensor("FP32", (2, 3, 4)), axis) == length


@pytest.mark.parametrize("axis", [3, -4])
def test_an_axis_that_is_not_there_is_refused(axis: int) -> None:
    with pytest.raises(ValueError, match="3 axes"):
        extent(Tensor("FP32", (2, 3, 4)), axis)


@pytest.mark.parametrize(
    "shape", [[-1], [1.0], [True], ["1"], [1] * 17, [2**40 + 1], [None], [2**20, 2**21], [0, 2**41]]
)
def test_a_shape_from_outside_is_whole_numbers(shape: list[object]) -> None:
    with pytest.raises(Invalid, match=r"IN\.shape"):
        checked_shape("IN", shape)


def test_a_deeply_nested_list_is_walked_without_recursion() -> None:
    nested: list[object] = [7]
    for _ in range(100_000):
        nested = [nested]
    assert flat(nested) == [7]


@pytest.mark.parametrize("datatype", sorted(FORMATS))
def test_a_number_that_its_type_cannot_hold_is_not_counted(datatype: str) -> None:
    most = FORMATS[datatype][2]
    assert total(Tensor(datatype, (1,), listed=[most])) == most
    with pytest.raises(ValueError, match="cannot hold"):
        total(Tensor(datatype, (1,), listed=[most + 1]))


@pytest.mark.parametrize("element", [5_000_000_000, 1.5, None, True])
def test_a_text_that_is_no_text_is_refused_and_takes_no_memory(element: object) -> None:
    with pytest.raises(ValueError, match="no text"):
        texts(Tensor("BYTES", (1,), listed=[element]))
