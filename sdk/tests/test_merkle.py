"""The Merkle tree against the definition of RFC 6962, word by word."""

from collections.abc import Iterator
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tollbook import merkle
from tollbook.errors import Invalid, Tampered

LEAVES = [merkle.leaf_hash(str(number).encode()) for number in range(40)]
sizes = st.integers(0, len(LEAVES))


def definition(leaves: list[bytes]) -> bytes:
    """MTH of RFC 6962, section 2.1, over leaf hashes."""
    if not leaves:
        return sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    children = definition(leaves[:split]) + definition(leaves[split:])
    return sha256(b"\x01" + children).digest()


def flip(data: bytes, bit: int) -> bytes:
    """Change one bit."""
    place, mask = bit // 8, 1 << bit % 8
    return data[:place] + bytes([data[place] ^ mask]) + data[place + 1 :]


@given(sizes)
def test_the_root_is_that_of_the_definition(size: int) -> None:
    assert merkle.root_of(iter(LEAVES[:size])) == definition(LEAVES[:size])


@given(sizes, sizes)
def test_a_frontier_goes_on_from_where_it_was_stored(size: int, split: int) -> None:
    tree = merkle.Frontier()
    for leaf in LEAVES[: min(split, size)]:
        tree.append(leaf)
    stored = merkle.Frontier(tree.size, tree.edge)
    stored.extend(LEAVES[tree.size : size])
    assert (stored.size, stored.root()) == (size, definition(LEAVES[:size]))


def test_a_frontier_stays_whole_when_its_source_fails() -> None:
    def failing() -> Iterator[bytes]:
        yield from LEAVES[:5]
        raise ConnectionError

    tree = merkle.Frontier()
    with pytest.raises(ConnectionError):
        tree.extend(failing())
    assert (tree.size, tree.root()) == (5, definition(LEAVES[:5]))


@pytest.mark.parametrize(
    ("size", "edge"), [(-1, []), (0, [b"x" * 32]), (3, [b"x" * 32]), (1, [b"x" * 31])]
)
def test_a_stored_edge_must_fit_its_size(size: int, edge: list[bytes]) -> None:
    with pytest.raises(Invalid):
        merkle.Frontier(size, edge)


def test_every_leaf_of_every_tree_has_a_proof() -> None:
    for size in range(1, 34):
        root = definition(LEAVES[:size])
        for index in range(size):
            proof = merkle.inclusion_proof(LEAVES, index, size)
            merkle.verify_inclusion(LEAVES[index], index, size, proof, root)


def test_every_tree_is_the_beginning_of_every_later_one() -> None:
    for second in range(34):
        for first in range(second + 1):
            proof = merkle.consistency_proof(LEAVES, first, second)
            roots = definition(LEAVES[:first]), definition(LEAVES[:second])
            merkle.verify_consistency(first, second, proof, *roots)


@given(st.data())
def test_a_changed_inclusion_proof_never_holds(data: st.DataObject) -> None:
    size = data.draw(st.integers(1, len(LEAVES)))
    index = data.draw(st.integers(0, size - 1))
    proof = merkle.inclusion_proof(LEAVES, index, size)
    parts = [LEAVES[index], definition(LEAVES[:size]), *proof]
    changed = data.draw(st.integers(0, len(parts) - 1))
    parts[changed] = flip(parts[changed], data.draw(st.integers(0, 255)))
    with pytest.raises(Tampered):
        merkle.verify_inclusion(parts[0], index, size, parts[2:], parts[1])


@given(st.data())
def test_a_changed_consistency_proof_never_holds(data: st.DataObject) -> None:
    second = data.draw(st.integers(1, len(LEAVES)))
    first = data.draw(st.integers(1, second))
    proof = merkle.consistency_proof(LEAVES, first, second)
    parts = [definition(LEAVES[:first]), definition(LEAVES[:second]), *proof]
    changed = data.draw(st.integers(0, len(parts) - 1))
    parts[changed] = flip(parts[changed], data.draw(st.integers(0, 255)))
    with pytest.raises(Tampered):
        merkle.verify_consistency(first, second, parts[2:], parts[0], parts[1])


@given(st.data())
def test_a_proof_does_not_hold_for_another_leaf(data: st.DataObject) -> None:
    size = data.draw(st.integers(2, len(LEAVES)))
    index, other = data.draw(st.permutations(range(size)))[:2]
    proof = merkle.inclusion_proof(LEAVES, index, size)
    root = definition(LEAVES[:size])
    with pytest.raises(Tampered):
        merkle.verify_inclusion(LEAVES[other], index, size, proof, root)
    with pytest.raises(Tampered):
        merkle.verify_inclusion(LEAVES[index], other, size, proof, root)


@given(st.data())
def test_a_proof_of_another_length_does_not_hold(data: st.DataObject) -> None:
    second = data.draw(st.integers(2, len(LEAVES)))
    first = data.draw(st.integers(1, second - 1))
    inclusion = merkle.inclusion_proof(LEAVES, first, second)
    consistency = merkle.consistency_proof(LEAVES, first, second)
    roots = definition(LEAVES[:first]), definition(LEAVES[:second])
    for wrong in (inclusion[:-1], [*inclusion, LEAVES[0]], [*inclusion[:-1], b"short"]):
        with pytest.raises(Tampered):
            merkle.verify_inclusion(LEAVES[first], first, second, wrong, roots[1])
    for wrong in (consistency[:-1], [*consistency, LEAVES[0]], [*consistency[:-1], b"short"]):
        with pytest.raises(Tampered):
            merkle.verify_consistency(first, second, wrong, *roots)


@pytest.mark.parametrize(
    ("first", "second", "proof", "roots"),
    [
        (2, 1, [], (definition(LEAVES[:2]), definition(LEAVES[:1]))),
        (-1, 1, [], (merkle.EMPTY_ROOT, definition(LEAVES[:1]))),
        (0, 0, [], (merkle.EMPTY_ROOT, LEAVES[0])),
        (0, 1, [], (LEAVES[0], LEAVES[0])),
        (0, 1, [LEAVES[0]], (merkle.EMPTY_ROOT, LEAVES[0])),
        (1, 1, [], (LEAVES[0], LEAVES[1])),
        (3, 5, [], (definition(LEAVES[:3]), definition(LEAVES[:5]))),
    ],
)
def test_impossible_histories_are_refused(
    first: int, second: int, proof: list[bytes], roots: tuple[bytes, bytes]
) -> None:
    with pytest.raises(Tampered):
        merkle.verify_consistency(first, second, proof, *roots)


@pytest.mark.parametrize(("index", "size"), [(-1, 1), (1, 1), (0, 0), (5, 41)])
def test_nothing_outside_the_tree_is_proved(index: int, size: int) -> None:
    with pytest.raises(Invalid):
        merkle.inclusion_proof(LEAVES, index, size)
    with pytest.raises(Tampered):
        merkle.verify_inclusion(LEAVES[0], index, min(size, 1), [], LEAVES[0])


@pytest.mark.parametrize(("first", "second"), [(-1, 1), (2, 1), (1, 41)])
def test_no_history_outside_the_tree_is_proved(first: int, second: int) -> None:
    with pytest.raises(Invalid):
        merkle.consistency_proof(LEAVES, first, second)
