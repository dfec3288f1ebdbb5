"""Whatever a registry answers, in whatever order: the right bytes get their name, or none do."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st
from sealane.bundle.manifest import WEIGHT, digest_of
from sealane.bundle.types import Layer
from sealane.errors import SealaneError
from sealane_manager.errors import Unreachable
from sealane_manager.registry.receive import TRIES, Patience, Receiver

if TYPE_CHECKING:
    from collections.abc import Iterator

CONTENT = bytes(range(40))
LAYER = Layer("model.onnx", WEIGHT, digest_of(CONTENT), len(CONTENT))


@dataclass(frozen=True, slots=True)
class Behaviour:
    """What a registry does with one question.

    Attributes:
        ranges: whether it begins where it was asked to.
        length: bytes after which it ends.
        flips: the place of a byte that it changes; -1: none.
        breaks: whether the connection breaks then.
        extra: bytes that it adds.
    """

    ranges: bool
    length: int
    flips: int
    breaks: bool
    extra: int


BEGINNINGS = st.integers(0, len(CONTENT)).map(lambda length: CONTENT[:length])
BEHAVIOURS = st.builds(
    Behaviour,
    ranges=st.booleans(),
    length=st.integers(0, 50),
    flips=st.sampled_from([-1, -1, -1, 0, 7, 39]),
    breaks=st.booleans(),
    extra=st.sampled_from([0, 0, 0, 1, 100]),
)


class Registry:
    """Behaves as it is told, one question after the other, and says nothing more then."""

    def __init__(self, behaviours: list[Behaviour]) -> None:
        self.left = behaviours
        self.now = Behaviour(ranges=True, length=0, flips=-1, breaks=True, extra=0)
        self.start = 0

    @contextmanager
    def blob(self, _digest: object, _size: int, offset: int) -> Iterator[tuple[int, Registry]]:
        if not self.left:
            raise Unreachable("nobody answers")
        self.now = self.left.pop(0)
        self.start = offset if self.now.ranges else 0
        yield self.start, self

    def parts(self) -> Iterator[bytes]:
        content = bytearray(CONTENT)
        if self.now.flips >= 0:
            content[self.now.flips] ^= 1
        told = bytes(content)[self.start : self.start + self.now.length] + b"+" * self.now.extra
        yield from (told[start : start + 7] for start in range(0, len(told), 7))
        if self.now.breaks:
            raise Unreachable("the connection broke")


@given(st.lists(BEHAVIOURS, max_size=8), st.one_of(BEGINNINGS, st.binary(max_size=50)))
def test_the_right_bytes_get_their_name_or_none_do(
    behaviours: list[Behaviour], held: bytes
) -> None:
    counted: list[int] = []
    with TemporaryDirectory(dir="/dev/shm") as name:
        folder = Path(name)
        final = folder / LAYER.digest.removeprefix("sha256:")
        partial = final.with_suffix(".partial")
        partial.write_bytes(held)
        patience = Patience(lambda _: None, lambda: 0.0, counted.append)
        receiver = Receiver(Registry(behaviours), folder, patience)
        try:
            receiver.receive(LAYER)
        except SealaneError:
            assert not final.exists()
            assert not partial.exists() or partial.stat().st_size <= max(len(held), len(CONTENT))
            return
        assert final.read_bytes() == CONTENT
        assert sum(counted) == len(CONTENT)


@given(st.integers(0, len(CONTENT)))
def test_a_registry_that_gives_one_byte_an_answer_gives_the_blob_in_the_end(held: int) -> None:
    one = Behaviour(ranges=True, length=1, flips=-1, breaks=True, extra=0)
    with TemporaryDirectory(dir="/dev/shm") as name:
        folder = Path(name)
        final = folder / LAYER.digest.removeprefix("sha256:")
        final.with_suffix(".partial").write_bytes(CONTENT[:held])
        patience = Patience(lambda _: None, lambda: 0.0, lambda _: None)
        Receiver(Registry([one] * len(CONTENT)), folder, patience).receive(LAYER)
        assert final.read_bytes() == CONTENT


def test_it_is_given_up_after_so_many_answers_with_nothing_in_them(tmp_path: Path) -> None:
    nothing = Behaviour(ranges=True, length=0, flips=-1, breaks=False, extra=0)
    registry, waited = Registry([nothing] * 100), list[float]()
    patience = Patience(waited.append, lambda: 0.0, lambda _: None)
    try:
        Receiver(registry, tmp_path, patience).receive(LAYER)
    except Unreachable:
        assert len(registry.left) == 100 - TRIES
    assert waited == [2.0, 4.0, 8.0, 16.0]
