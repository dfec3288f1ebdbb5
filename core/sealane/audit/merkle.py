"""The Merkle tree of RFC 6962, section 2: what proves what, and whether a proof holds. Pure.

A leaf is an entry's bytes. A complete subtree has an address (level, index) and covers the leaves
from index * 2^level on; once complete it never changes, so whoever keeps those hashes can prove
anything about any size of the tree. Any other part is folded from complete ones, right to left.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

EMPTY: Final = sha256().digest()
"""The root of a tree without leaves."""

MAX_SIZE: Final = 2**63 - 1
MAX_PROOF: Final = 2 * 63
"""Hashes in a proof about the largest tree."""


@dataclass(frozen=True, slots=True, order=True)
class Node:
    """The address of a complete subtree."""

    level: int
    index: int


@dataclass(frozen=True, slots=True)
class Span:
    """The leaves from `start` up to, not including, `end`."""

    start: int
    end: int


def leaf_hash(entry: bytes) -> bytes:
    """The hash of one entry."""
    return sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of two neighbours."""
    return sha256(b"\x01" + left + right).digest()


def peaks(span: Span) -> tuple[Node, ...]:
    """The complete subtrees that a span consists of, from the left.

    The span begins where a subtree at least as large as itself may begin, as in every proof.
    """
    found, start = [], span.start
    while start < span.end:
        level = (span.end - start).bit_length() - 1
        found.append(Node(level, start >> level))
        start += 1 << level
    return tuple(found)


def fold(hashes: Sequence[bytes]) -> bytes:
    """The root over complete subtrees, from the left."""
    if not hashes:
        return EMPTY
    root = hashes[-1]
    for left in reversed(hashes[:-1]):
        root = node_hash(left, root)
    return root


def grown(
    size: int, summits: Sequence[bytes], leaves: Iterable[bytes]
) -> tuple[dict[Node, bytes], tuple[bytes, ...]]:
    """What a tree gains by more leaf hashes: its new complete subtrees, and its peaks then.

    `summits` are the hashes of `peaks(Span(0, size))`.
    """
    gained: dict[Node, bytes] = {}
    stack = list(summits)
    for position, leaf in enumerate(leaves, size):
        node, value = Node(0, position), leaf
        gained[node] = value
        while node.index & 1:  # a right neighbour completes its parent
            node, value = Node(node.level + 1, node.index >> 1), node_hash(stack.pop(), value)
            gained[node] = value
        stack.append(value)
    return gained, tuple(stack)


def inclusion(index: int, size: int) -> tuple[Span, ...]:
    """The spans whose hashes prove that leaf `index` is in the tree of that size."""
    return tuple(_path(index, Span(0, size)))


def consistency(old: int, size: int) -> tuple[Span, ...]:
    """The spans whose hashes prove that the tree of that size continues the one of size `old`."""
    return tuple(_continuation(old, Span(0, size), known=True)) if 0 < old < size else ()


def hashed(span: Span, known: Mapping[Node, bytes]) -> bytes:
    """The hash of a span, from complete subtrees; raises KeyError when one is not known."""
    return fold([known[node] for node in peaks(span)])


def includes(leaf: bytes, index: int, size: int, proof: Sequence[bytes]) -> bytes | None:
    """The root of the tree of that size with this leaf hash there; None if the proof is none."""
    if not 0 <= index < size <= MAX_SIZE:
        return None
    sides = []
    while size > 1:
        half = _half(size)
        sides.append(index >= half)
        index, size = (index - half, size - half) if index >= half else (index, half)
    if len(proof) != len(sides):
        return None
    root = leaf
    for sibling, right in zip(proof, reversed(sides), strict=True):
        root = node_hash(sibling, root) if right else node_hash(root, sibling)
    return root


def continues(old: tuple[int, bytes], new: tuple[int, bytes], proof: Sequence[bytes]) -> bool:
    """Whether the tree of the new size and root continues the one of the old size and root."""
    (old_size, old_root), (size, root) = old, new
    if not 0 <= old_size <= size <= MAX_SIZE or len(proof) > MAX_PROOF:
        return False
    if old_size == size:
        return not proof and old_root == root
    if old_size == 0:
        return not proof and old_root == EMPTY
    return _rebuilt(old_size, size, (old_root, *proof)) == (old_root, root)


def _half(size: int) -> int:
    """The largest power of two smaller than the size."""
    return 1 << ((size - 1).bit_length() - 1)


def _path(index: int, span: Span) -> Iterator[Span]:
    size = span.end - span.start
    if size == 1:
        return
    middle = span.start + _half(size)
    left, right = Span(span.start, middle), Span(middle, span.end)
    inside, sibling = (left, right) if index < middle else (right, left)
    yield from _path(index, inside)
    yield sibling


def _continuation(old: int, span: Span, *, known: bool) -> Iterator[Span]:
    if old == span.end:
        if not known:
            yield span
        return
    middle = span.start + _half(span.end - span.start)
    left, right = Span(span.start, middle), Span(middle, span.end)
    if old <= middle:
        yield from _continuation(old, left, known=known)
        yield right
    else:
        yield from _continuation(old, right, known=False)
        yield left


def _rebuilt(old: int, size: int, proof: Sequence[bytes]) -> tuple[bytes, bytes] | None:
    """The old and the new root that follow from a proof with the old root before it."""
    turns, known = [], True
    while old != size:
        half = _half(size)
        turns.append(old > half)
        old, size = (old - half, size - half) if old > half else (old, half)
        known = known and not turns[-1]
    rest = proof if known else proof[1:]
    if len(rest) != len(turns) + 1:
        return None
    before = after = rest[0]
    for sibling, right in zip(rest[1:], reversed(turns), strict=True):
        after = node_hash(sibling, after) if right else node_hash(after, sibling)
        before = node_hash(sibling, before) if right else before
    return before, after
