"""The Merkle tree of RFC 9162, section 2.1: hashes, roots, proofs, and what verifies them. No I/O.

Complete subtrees never change once they are full, so they are kept by (level, index): level 0 has
the leaves' hashes, and node (l, i) stands over the leaves from `i << l` to `(i + 1) << l`. A root
or a proof of any size is made of at most about twice log2(size) of them.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise

HASH_BYTES = 32
EMPTY = hashlib.sha256(b"").digest()  # the root of a tree without leaves

Node = tuple[int, int]  # (level, index)
Range = tuple[int, int]  # leaves [start, end)
Hashes = Callable[[Node], bytes]


def leaf_hash(leaf: bytes) -> bytes:
    """The hash of a leaf: SHA-256(0x00 | leaf)."""
    return hashlib.sha256(b"\x00" + leaf).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of a node over two subtrees: SHA-256(0x01 | left | right)."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def grown(
    size: int, edge: Sequence[bytes], leaf: bytes
) -> tuple[list[tuple[Node, bytes]], list[bytes]]:
    """What one more leaf completes.

    Args:
        size: Leaves so far.
        edge: The roots of the complete subtrees that these make, the largest first.
        leaf: The new leaf's hash.

    Returns:
        The nodes that are complete now, the leaf first, and the edge of `size + 1` leaves.
    """
    level, index, made = 0, size, leaf
    edge = list(edge)
    nodes = [((level, index), made)]
    while index & 1:
        made = node_hash(edge.pop(), made)
        level, index = level + 1, index >> 1
        nodes.append(((level, index), made))
    edge.append(made)
    return nodes, edge


def joined(edge: Sequence[bytes]) -> bytes:
    """The root of the tree whose complete subtrees have these roots, the largest first."""
    if not edge:
        return EMPTY
    *rest, root = edge
    for left in reversed(rest):
        root = node_hash(left, root)
    return root


def parts(leaves: Range) -> list[Node]:
    """The complete subtrees that make up a range of leaves which a proof names, largest first."""
    start, end = leaves
    found = []
    while start < end:
        level = (end - start).bit_length() - 1
        found.append((level, start >> level))
        start += 1 << level
    return found


def range_hash(leaves: Range, hashes: Hashes) -> bytes:
    """MTH over a range of leaves; `(0, size)` gives the root of the tree of that size."""
    return joined([hashes(node) for node in parts(leaves)])


def inclusion_path(index: int, size: int) -> list[Range]:
    """The ranges whose hashes prove that a leaf stands in a tree: PATH(m, D_n), section 2.1.3.1.

    Args:
        index: Of the leaf, from 0.
        size: Of the tree; more than the index.
    """
    path: list[Range] = []
    start, end = 0, size
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            path.append((middle, end))
            end = middle
        else:
            path.append((start, middle))
            start = middle
    return path[::-1]


def consistency_path(first: int, second: int) -> list[Range]:
    """The ranges whose hashes prove that a tree continues another: PROOF(m, D_n), section 2.1.4.1.

    Args:
        first: Size of the older tree, at least 1.
        second: Size of the newer one, at least `first`.
    """
    path: list[Range] = []
    start, end, whole = 0, second, True
    while first < end:
        middle = start + _split(end - start)
        if first <= middle:
            path.append((middle, end))
            end = middle
        else:
            path.append((start, middle))
            start, whole = middle, False
    if not whole:
        path.append((start, end))
    return path[::-1]


def includes(root: bytes, size: int, index: int, leaf: bytes, proof: Sequence[bytes]) -> bool:
    """Whether a proof shows that a leaf's hash stands at an index of a tree: section 2.1.3.2."""
    if not 0 <= index < size:
        return False
    number, last, made = index, size - 1, leaf
    for one in proof:
        if last == 0:
            return False
        if number & 1 or number == last:
            made = node_hash(one, made)
            while not number & 1 and number:
                number, last = number >> 1, last >> 1
        else:
            made = node_hash(made, one)
        number, last = number >> 1, last >> 1
    return last == 0 and made == root


def continues(
    first: int, first_root: bytes, second: int, second_root: bytes, proof: Sequence[bytes]
) -> bool:
    """Whether a proof shows that a tree begins with all of an older one: section 2.1.4.2."""
    if not 0 < first <= second:
        return False
    if first == second:
        return not proof and first_root == second_root
    path = list(proof) if first & (first - 1) else [first_root, *proof]
    if not path:
        return False
    number, last = first - 1, second - 1
    while number & 1:
        number, last = number >> 1, last >> 1
    old = new = path[0]
    for one in path[1:]:
        if last == 0:
            return False
        if number & 1 or number == last:
            old, new = node_hash(one, old), node_hash(one, new)
            while not number & 1 and number:
                number, last = number >> 1, last >> 1
        else:
            new = node_hash(new, one)
        number, last = number >> 1, last >> 1
    return last == 0 and (old, new) == (first_root, second_root)


def roots(leaves: Iterable[bytes], sizes: Iterable[int]) -> Iterator[tuple[int, bytes]]:
    """The roots that a tree has at some sizes as it grows, in their order, each once.

    Args:
        leaves: The leaves' hashes; read no further than the largest size.
        sizes: Those of no reached size are left out.
    """
    edge: list[bytes] = []
    coming = iter(leaves)
    wanted = [0, *sorted(set(sizes) - {0})]
    if 0 in set(sizes):
        yield 0, EMPTY
    for before, size in pairwise(wanted):
        for at in range(before, size):
            leaf = next(coming, None)
            if leaf is None:
                return
            _, edge = grown(at, edge, leaf)
        yield size, joined(edge)


def _split(size: int) -> int:
    """The largest power of two that is less than a size, which is at least 2."""
    return 1 << ((size - 1).bit_length() - 1)
