"""The Merkle tree against the definitions of RFC 6962, section 2.1, written down once more here."""

from __future__ import annotations

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sealane.audit import merkle
from sealane.audit.merkle import Node, Span

# The entries and roots that certificate transparency's own tests use.
ENTRIES = tuple(
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
)
ROOTS = (
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
)
SIZES = st.integers(1, 70)


def entries(count: int) -> list[bytes]:
    return [f"entry {number}".encode() for number in range(count)]


def split(count: int) -> int:
    half = 1
    while half * 2 < count:
        half *= 2
    return half


def root(data: list[bytes]) -> bytes:
    """MTH, section 2.1."""
    if not data:
        return sha256().digest()
    if len(data) == 1:
        return sha256(b"\x00" + data[0]).digest()
    half = split(len(data))
    return sha256(b"\x01" + root(data[:half]) + root(data[half:])).digest()


def path(index: int, data: list[bytes]) -> list[bytes]:
    """PATH, section 2.1.1."""
    if len(data) == 1:
        return []
    half = split(len(data))
    if index < half:
        return [*path(index, data[:half]), root(data[half:])]
    return [*path(index - half, data[half:]), root(data[:half])]


def proof(old: int, data: list[bytes]) -> list[bytes]:
    """PROOF, section 2.1.2."""
    return subproof(old, data, known=True)


def subproof(old: int, data: list[bytes], *, known: bool) -> list[bytes]:
    if old == len(data):
        return [] if known else [root(data)]
    half = split(len(data))
    if old <= half:
        return [*subproof(old, data[:half], known=known), root(data[half:])]
    return [*subproof(old - half, data[half:], known=False), root(data[:half])]


class Tree:
    """A tree that grew by the module's own functions."""

    def __init__(self, *portions: list[bytes]) -> None:
        self.nodes: dict[Node, bytes] = {}
        self.size, self.summits = 0, tuple[bytes, ...]()
        for portion in portions:
            gained, self.summits = merkle.grown(
                self.size, self.summits, [merkle.leaf_hash(each) for each in portion]
            )
            assert not self.nodes.keys() & gained.keys()
            self.nodes |= gained
            self.size += len(portion)

    def hashes(self, spans: tuple[Span, ...]) -> list[bytes]:
        return [merkle.hashed(span, self.nodes) for span in spans]


@pytest.mark.parametrize("size", range(9))
def test_the_known_vectors_have_their_known_roots(size: int) -> None:
    tree = Tree(list(ENTRIES[:size]))
    assert merkle.fold(tree.summits).hex() == root(list(ENTRIES[:size])).hex() == ROOTS[size]


@given(SIZES, SIZES)
def test_a_tree_has_the_root_of_the_definition_however_it_grew(size: int, first: int) -> None:
    data = entries(size)
    tree = Tree(data[:first], data[first:])
    assert merkle.fold(tree.summits) == root(data)
    assert merkle.hashed(Span(0, size), tree.nodes) == root(data)
    assert len(tree.nodes) < 2 * size


@given(SIZES, st.data())
def test_an_inclusion_proof_is_that_of_the_definition_and_proves_its_entry(
    size: int, data: st.DataObject
) -> None:
    everything = entries(size)
    index = data.draw(st.integers(0, size - 1))
    made = Tree(everything).hashes(merkle.inclusion(index, size))
    assert made == path(index, everything)
    leaf = merkle.leaf_hash(everything[index])
    assert merkle.includes(leaf, index, size, made) == root(everything)


@given(SIZES, st.data())
def test_an_inclusion_proof_proves_nothing_else(size: int, data: st.DataObject) -> None:
    everything = entries(size)
    index = data.draw(st.integers(0, size - 1))
    made = path(index, everything)
    right = root(everything)
    assert merkle.includes(merkle.leaf_hash(b"another entry"), index, size, made) != right
    leaf = merkle.leaf_hash(everything[index])
    for other in set(range(size)) - {index}:
        assert merkle.includes(leaf, other, size, made) != right
    assert merkle.includes(leaf, index, size, [*made, bytes(32)]) is None
    assert merkle.includes(leaf, size, size, made) is None
    if made:
        assert merkle.includes(leaf, index, size, made[:-1]) != right
        changed = [bytes(32), *made[1:]]
        assert merkle.includes(leaf, index, size, changed) != right


@given(SIZES, st.data())
def test_a_consistency_proof_is_that_of_the_definition_and_proves_it(
    size: int, data: st.DataObject
) -> None:
    everything = entries(size)
    old = data.draw(st.integers(1, size))
    made = Tree(everything).hashes(merkle.consistency(old, size))
    assert made == proof(old, everything)
    before, after = (old, root(everything[:old])), (size, root(everything))
    assert merkle.continues(before, after, made)


@given(SIZES, st.data())
def test_no_proof_makes_a_changed_history_a_continued_one(size: int, data: st.DataObject) -> None:
    everything = entries(size)
    old = data.draw(st.integers(1, size))
    position = data.draw(st.integers(0, old - 1))
    forged = [*everything]
    forged[position] = b"it never happened"
    seen = (old, root(everything[:old]))
    new = (size, root(forged))
    for attempt in (proof(old, forged), proof(old, everything), [], [seen[1]], [new[1]]):
        assert not merkle.continues(seen, new, attempt)


@given(SIZES, st.lists(st.binary(min_size=32, max_size=32), max_size=8), st.data())
def test_any_hashes_at_all_prove_nothing(size: int, made: list[bytes], data: st.DataObject) -> None:
    old = data.draw(st.integers(1, size))
    seen = (old, merkle.leaf_hash(b"what was seen"))
    assert not merkle.continues(seen, (size, merkle.leaf_hash(b"what is shown")), made)


def test_a_shorter_tree_a_proof_too_many_or_too_long_is_no_continuation() -> None:
    data = entries(7)
    seen = (7, root(data))
    assert merkle.continues(seen, seen, [])
    assert not merkle.continues(seen, seen, [bytes(32)])
    assert not merkle.continues(seen, (6, root(data[:6])), [])
    assert merkle.continues((0, merkle.EMPTY), seen, [])
    assert not merkle.continues((0, bytes(32)), seen, [])
    assert not merkle.continues((3, root(data[:3])), seen, proof(3, data) * 100)
    assert not merkle.continues((3, root(data[:3])), (2**63, root(data)), proof(3, data))
