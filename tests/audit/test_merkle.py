"""The tree of RFC 9162, against the vectors of Certificate Transparency and the RFC's own words."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.audit.trees import Tree
from vault.audit import merkle

# Of google/certificate-transparency, cpp/merkletree/merkle_tree_test.cc, as its reference tests and
# those of transparency-dev/merkle give them.
LEAVES = [
    bytes.fromhex(text)
    for text in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
ROOTS = (
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
)
INCLUSION = {  # (index from 0, size)
    (0, 1): (),
    (0, 8): (
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ),
    (5, 8): (
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ),
    (2, 3): ("fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",),
    (1, 5): (
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    ),
}
CONSISTENCY = {
    (1, 1): (),
    (1, 8): (
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ),
    (6, 8): (
        "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ),
    (2, 5): (
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    ),
}
SIZE = 70  # of the trees that are compared with the RFC's definitions


def mth(leaves: list[bytes]) -> bytes:
    """RFC 9162, section 2.1.1, word for word."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return hashlib.sha256(b"\x00" + leaves[0]).digest()
    k = split(len(leaves))
    return hashlib.sha256(b"\x01" + mth(leaves[:k]) + mth(leaves[k:])).digest()


def path(m: int, leaves: list[bytes]) -> list[bytes]:
    """RFC 9162, section 2.1.3.1, word for word."""
    if len(leaves) == 1:
        return []
    k = split(len(leaves))
    if m < k:
        return [*path(m, leaves[:k]), mth(leaves[k:])]
    return [*path(m - k, leaves[k:]), mth(leaves[:k])]


def subproof(m: int, leaves: list[bytes], whole: bool) -> list[bytes]:
    """RFC 9162, section 2.1.4.1, word for word."""
    if m == len(leaves):
        return [] if whole else [mth(leaves)]
    k = split(len(leaves))
    if m <= k:
        return [*subproof(m, leaves[:k], whole), mth(leaves[k:])]
    return [*subproof(m - k, leaves[k:], False), mth(leaves[:k])]


def split(size: int) -> int:
    k = 1
    while 2 * k < size:
        k *= 2
    return k


def texts(hashes: list[bytes]) -> tuple[str, ...]:
    return tuple(one.hex() for one in hashes)


def test_the_published_roots_come_out() -> None:
    hashes = [merkle.leaf_hash(leaf) for leaf in LEAVES]

    assert merkle.EMPTY.hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert list(merkle.roots(hashes, range(9)))[1:] == [
        (size, bytes.fromhex(root)) for size, root in enumerate(ROOTS, 1)
    ]


@pytest.mark.parametrize(("index", "size"), INCLUSION)
def test_the_published_inclusion_proofs_come_out_and_hold(index: int, size: int) -> None:
    proof = Tree(LEAVES).hashes(merkle.inclusion_path(index, size))
    leaf, root = merkle.leaf_hash(LEAVES[index]), bytes.fromhex(ROOTS[size - 1])

    assert texts(proof) == INCLUSION[index, size]
    assert merkle.includes(root, size, index, leaf, proof)


@pytest.mark.parametrize(("first", "second"), CONSISTENCY)
def test_the_published_consistency_proofs_come_out_and_hold(first: int, second: int) -> None:
    proof = Tree(LEAVES).hashes(merkle.consistency_path(first, second))
    old, new = bytes.fromhex(ROOTS[first - 1]), bytes.fromhex(ROOTS[second - 1])

    assert texts(proof) == CONSISTENCY[first, second]
    assert merkle.continues(first, old, second, new, proof)


def test_every_root_and_proof_is_that_of_the_rfc() -> None:
    leaves = [bytes([number]) for number in range(SIZE)]
    tree = Tree(leaves)
    assert merkle.joined(tree.edge) == mth(leaves)
    for size in range(1, SIZE + 1):
        known = leaves[:size]
        assert tree.hashes([(0, size)]) == [mth(known)]
        for index in range(size):
            assert tree.hashes(merkle.inclusion_path(index, size)) == path(index, known)
            proof = tree.hashes(merkle.consistency_path(index + 1, size))
            assert proof == subproof(index + 1, known, True)


@given(st.integers(1, SIZE), st.data())
def test_a_proof_holds_for_its_own_leaf_and_sizes_alone(size: int, data: st.DataObject) -> None:
    leaves = [bytes([number]) for number in range(size)]
    tree, root = Tree(leaves), mth(leaves)
    index = data.draw(st.integers(0, size - 1))
    proof = tree.hashes(merkle.inclusion_path(index, size))
    leaf = merkle.leaf_hash(leaves[index])

    assert merkle.includes(root, size, index, leaf, proof)
    assert not merkle.includes(root, size, index, merkle.leaf_hash(b"another"), proof)
    assert not merkle.includes(root, size, index, leaf, [*proof, root])
    for other in set(range(size)) - {index}:
        assert not merkle.includes(root, size, other, leaf, proof)
    if proof:
        changed = data.draw(st.integers(0, len(proof) - 1))
        wrong = [root if at == changed else one for at, one in enumerate(proof)]
        assert not merkle.includes(root, size, index, leaf, wrong)
        assert not merkle.includes(root, size, index, leaf, proof[:-1])


@given(st.integers(2, SIZE), st.data())
def test_no_proof_makes_another_history_a_continuation(size: int, data: st.DataObject) -> None:
    leaves = [bytes([number]) for number in range(size)]
    first = data.draw(st.integers(1, size - 1))
    old, new = mth(leaves[:first]), mth(leaves)
    proof = Tree(leaves).hashes(merkle.consistency_path(first, size))
    changed = data.draw(st.integers(0, first - 1))
    others = [b"another" if at == changed else one for at, one in enumerate(leaves)]
    forged = Tree(others).hashes(merkle.consistency_path(first, size))

    assert merkle.continues(first, old, size, new, proof)
    assert not merkle.continues(first, old, size, mth(others), forged)
    assert not merkle.continues(first, old, size, mth(others), proof)
    assert not merkle.continues(first, mth(others[:first]), size, new, proof)
    assert not merkle.continues(first, old, size, new, proof[:-1])
    assert not merkle.continues(first, old, size, new, [*proof, new])


def test_nothing_is_proved_of_an_empty_or_a_shorter_tree() -> None:
    assert not merkle.includes(merkle.EMPTY, 0, 0, merkle.leaf_hash(b""), [])
    assert not merkle.continues(0, merkle.EMPTY, 1, mth([b""]), [])
    assert not merkle.continues(2, mth([b"", b""]), 1, mth([b""]), [])
    assert not merkle.continues(2, mth([b"", b""]), 3, mth([b"", b"", b""]), [])
    assert list(merkle.roots([], [0, 1])) == [(0, merkle.EMPTY)]
