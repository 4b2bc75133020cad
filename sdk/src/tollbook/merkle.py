"""The Merkle tree of RFC 6962 and RFC 9162 over SHA-256: roots, proofs and their verification.

Leaf k (from 0) is the event at position k + 1. A leaf hash covers the stored bytes; nothing is
serialised again. ``Frontier`` keeps only the roots of the perfect subtrees on the right edge (a
compact range), so a log of any length is appended to in constant space.
docs/formats/merkle.md is the specification, with test vectors.
"""

from collections.abc import Iterable, Sequence
from hashlib import sha256

from tollbook.errors import Invalid, Tampered

HASH_BYTES = 32
EMPTY_ROOT = sha256(b"").digest()


def leaf_hash(data: bytes) -> bytes:
    """Hash one entry; the first byte keeps it from ever being taken for an inner node."""
    return sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Hash two children into their parent."""
    return sha256(b"\x01" + left + right).digest()


class Frontier:
    """A tree that grows at its right edge and remembers only what its root needs."""

    __slots__ = ("_edge", "_size")

    def __init__(self, size: int = 0, edge: Iterable[bytes] = ()) -> None:
        """Start empty, or go on from a stored size and edge."""
        self._size = size
        self._edge = list(edge)
        # One perfect subtree for each bit of the size, the largest first.
        if size < 0 or len(self._edge) != size.bit_count():
            raise Invalid.because("edge", len(self._edge), f"the subtrees of {size} leaves")
        if any(len(node) != HASH_BYTES for node in self._edge):
            raise Invalid.because("edge", "a node", f"{HASH_BYTES} bytes long")

    @property
    def size(self) -> int:
        """The number of leaves so far."""
        return self._size

    @property
    def edge(self) -> tuple[bytes, ...]:
        """The roots of the perfect subtrees, from left to right: all there is to store."""
        return tuple(self._edge)

    def append(self, leaf: bytes) -> None:
        """Add one leaf hash."""
        self.extend((leaf,))

    def extend(self, leaves: Iterable[bytes]) -> None:
        """Add many leaf hashes, in order."""
        size, edge, hasher = self._size, self._edge, sha256
        for leaf in leaves:
            node, carry = leaf, size
            while carry & 1:
                node = hasher(b"\x01" + edge.pop() + node).digest()
                carry >>= 1
            edge.append(node)
            # Kept in step with the edge, in case the iterable fails half way.
            self._size = size = size + 1

    def root(self) -> bytes:
        """Return the root over all leaves so far."""
        if not self._edge:
            return EMPTY_ROOT
        root = self._edge[-1]
        for left in reversed(self._edge[:-1]):
            root = node_hash(left, root)
        return root


def root_of(leaves: Iterable[bytes]) -> bytes:
    """Return the root over these leaf hashes."""
    tree = Frontier()
    tree.extend(leaves)
    return tree.root()


def inclusion_proof(leaves: Sequence[bytes], index: int, size: int) -> list[bytes]:
    """Prove that leaf ``index`` is in the tree of the first ``size`` leaves."""
    if not 0 <= index < size <= len(leaves):
        raise Invalid.because("index", f"{index} of {size}", f"within {len(leaves)} leaves")
    proof, start, end = [], 0, size
    while end - start > 1:
        middle = start + _left_width(end - start)
        if index < middle:
            proof.append(root_of(leaves[middle:end]))
            end = middle
        else:
            proof.append(root_of(leaves[start:middle]))
            start = middle
    return proof[::-1]


def consistency_proof(leaves: Sequence[bytes], first: int, second: int) -> list[bytes]:
    """Prove that the tree of ``second`` leaves begins with the tree of ``first`` leaves."""
    if not 0 <= first <= second <= len(leaves):
        raise Invalid.because("size", f"{first} to {second}", f"within {len(leaves)} leaves")
    if first in (0, second):
        return []
    proof, start, end = [], 0, second
    while first != end:
        middle = start + _left_width(end - start)
        if first <= middle:
            proof.append(root_of(leaves[middle:end]))
            end = middle
        else:
            proof.append(root_of(leaves[start:middle]))
            start = middle
    # The last subtree ends where the old tree ends; if it is the old tree, its root is known.
    if start > 0:
        proof.append(root_of(leaves[start:end]))
    return proof[::-1]


def verify_inclusion(
    leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes
) -> None:
    """Check an inclusion proof (RFC 9162, 2.1.3.2); raise ``Tampered`` unless it holds."""
    if not 0 <= index < size:
        raise _broken("inclusion", f"there is no leaf {index} in a tree of {size}")
    _check_lengths("inclusion", proof)
    fn, sn, node = index, size - 1, leaf
    for sibling in proof:
        if sn == 0:
            raise _broken("inclusion", "it is too long")
        if fn & 1 or fn == sn:
            node = node_hash(sibling, node)
            while fn and not fn & 1:
                fn, sn = fn >> 1, sn >> 1
        else:
            node = node_hash(node, sibling)
        fn, sn = fn >> 1, sn >> 1
    if sn != 0 or node != root:
        raise _broken("inclusion", "it does not lead to the root")


def verify_consistency(
    first: int, second: int, proof: Sequence[bytes], first_root: bytes, second_root: bytes
) -> None:
    """Check a consistency proof (RFC 9162, 2.1.4.2); raise ``Tampered`` unless it holds."""
    if not 0 <= first <= second:
        raise _broken("consistency", f"a tree of {second} cannot begin with one of {first}")
    _check_lengths("consistency", proof)
    if first in (0, second):
        _check_roots_alone(first, second, proof, first_root, second_root)
        return
    # A first tree that is perfect is itself the first node of the path, and is left out of it.
    path = [first_root, *proof] if first & (first - 1) == 0 else list(proof)
    fn, sn = first - 1, second - 1
    while fn & 1:
        fn, sn = fn >> 1, sn >> 1
    if not path:
        raise _broken("consistency", "it is too short")
    old = new = path[0]
    for sibling in path[1:]:
        if sn == 0:
            raise _broken("consistency", "it is too long")
        if fn & 1 or fn == sn:
            old, new = node_hash(sibling, old), node_hash(sibling, new)
            while fn and not fn & 1:
                fn, sn = fn >> 1, sn >> 1
        else:
            new = node_hash(new, sibling)
        fn, sn = fn >> 1, sn >> 1
    if sn != 0 or old != first_root or new != second_root:
        raise _broken("consistency", "it does not lead to both roots")


def _check_roots_alone(
    first: int, second: int, proof: Sequence[bytes], first_root: bytes, second_root: bytes
) -> None:
    """Compare trees between which nothing lies: equal ones, or any with the empty one."""
    if proof:
        raise _broken("consistency", "it is too long")
    if first == 0 and first_root != EMPTY_ROOT:
        raise _broken("consistency", "the first root is not that of the empty tree")
    if first == second and first_root != second_root:
        raise _broken("consistency", "trees of equal size have different roots")


def _left_width(width: int) -> int:
    """Return the largest power of two below ``width``: where RFC 6962 splits a tree."""
    return 1 << ((width - 1).bit_length() - 1)


def _check_lengths(kind: str, proof: Sequence[bytes]) -> None:
    if any(len(node) != HASH_BYTES for node in proof):
        raise _broken(kind, f"a node of it is not {HASH_BYTES} bytes long")


def _broken(kind: str, why: str) -> Tampered:
    return Tampered(f"the {kind} proof does not hold: {why}", code=f"{kind}_proof_broken")
