"""The Merkle tree's right edge, kept every 4,096 leaves: the root at any position without the log.

Leaf k (from 0) is the event at position k + 1 (docs/formats/merkle.md).
"""

from collections.abc import Sequence

from tollbook.errors import Invalid
from tollbook.merkle import HASH_BYTES, Frontier

from projections.model import Connection, Run

TABLES = """
CREATE TABLE tree_edges (
    size bigint PRIMARY KEY,  -- leaves under this edge: the position of the last one
    edge bytea  NOT NULL      -- roots of the perfect subtrees, from left to right
);
"""

KEPT_EVERY = 4_096
_LEAVES_AT_ONCE = 50_000

_NEWEST = "SELECT size, edge FROM tree_edges ORDER BY size DESC LIMIT 1"
_FORGET = "DELETE FROM tree_edges WHERE size = %s AND size %% %s <> 0"
_INSERT = "INSERT INTO tree_edges VALUES (%s, %s)"
_NEAREST = "SELECT size, edge FROM views.tree_edges WHERE size <= %s ORDER BY size DESC LIMIT 1"
_LEAVES = "SELECT leaf FROM public.events WHERE position > %s AND position <= %s ORDER BY position"


def grow(connection: Connection, leaves: Sequence[bytes]) -> None:
    """Add the leaves of a batch inside the open transaction."""
    row = connection.execute(_NEWEST).fetchone()
    tree = _tree(*row) if row else Frontier()
    connection.execute(_FORGET, (tree.size, KEPT_EVERY))
    start = 0
    while start < len(leaves):
        end = min(len(leaves), start + KEPT_EVERY - tree.size % KEPT_EVERY)
        tree.extend(leaves[start:end])
        connection.execute(_INSERT, (tree.size, b"".join(tree.edge)))
        start = end


def root_at(run: Run, position: int) -> bytes:
    """Return the root over every event up to a position."""
    rows = run(_NEAREST, (position,))
    tree = _tree(*rows[0]) if rows else Frontier()
    while tree.size < position:
        end = min(position, tree.size + _LEAVES_AT_ONCE)
        leaves = run(_LEAVES, (tree.size, end))
        if len(leaves) != end - tree.size:
            raise Invalid.because("position", position, "a position of the ledger")
        tree.extend(bytes(leaf) for (leaf,) in leaves)
    return tree.root()


def _tree(size: int, edge: bytes) -> Frontier:
    nodes = [bytes(edge[at : at + HASH_BYTES]) for at in range(0, len(edge), HASH_BYTES)]
    return Frontier(size, nodes)
