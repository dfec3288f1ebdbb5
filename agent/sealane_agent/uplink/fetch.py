"""Fetches blobs from a source that nobody trusts: resumed, bounded by the manifest, hashed.

A transport that breaks is tried again as long as it makes progress; bytes that are wrong are
fetched anew a few times, because the transport may have changed them, and then given up.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

from sealane.failure import Failure, FailureKind

from sealane_agent.errors import Failed
from sealane_agent.store import WrongBytes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from sealane.bundle.types import Layer
    from sealane.names import Digest

    from sealane_agent.store import Store

MAX_WRONG: Final = 3
"""Deliveries of wrong bytes before a blob is given up."""

MAX_STUCK: Final = 3
"""Breaks in a row without a new byte before the slot waits longer."""


class SourceTrouble(Exception):  # noqa: N818 - the word says what happened
    """The transport broke; what arrived stays, the rest may come later."""


@dataclass(frozen=True, slots=True)
class Base:
    """A blob that is here already, and may be much like one that is not."""

    digest: Digest
    path: Path


class BlobSource(Protocol):
    """Anything that delivers a blob's bytes from an offset on."""

    def fetch(self, digest: Digest, offset: int) -> Iterator[bytes]:
        """Deliver chunks; raises SourceTrouble."""
        ...

    def patched(self, digest: Digest, base: Base) -> Iterator[bytes]:
        """Deliver all chunks, in whatever way is cheapest from this base; raises SourceTrouble."""
        ...


@dataclass(frozen=True, slots=True)
class Policy:
    """How a fetch behaves, given from outside.

    Attributes:
        pause: waits before the n-th try in a row, counted from 1.
        stop: says that nobody wants the blobs any more.
        begun: told of each delivery: the blob, and the offset that it begins at.
        before: manifest of the bundle that serves now, if one does.
        bases: of blobs, by their digests, what a patch may begin from.
    """

    pause: Callable[[int], None]
    stop: Callable[[], bool]
    begun: Callable[[Layer, int], None] = lambda _layer, _offset: None
    before: Digest | None = None
    bases: Mapping[Digest, Base] = field(default_factory=dict)


def fetch_all(store: Store, source: BlobSource, layers: Iterable[Layer], policy: Policy) -> None:
    """Bring every blob into the store; raises Failed or store.Stopped."""
    for layer in layers:
        with store.alone(layer.digest):
            _fetch(store, source, layer, policy)


def _fetch(store: Store, source: BlobSource, layer: Layer, policy: Policy) -> None:
    wrong = stuck = 0
    base = policy.bases.get(layer.digest)
    while not store.has(layer.digest):
        before = store.partial_bytes(layer)
        policy.begun(layer, before)
        chunks = _chunks(source, layer, None if before else base)
        # A patch is tried once: whatever is wrong with it, the blob itself comes next.
        base = None
        try:
            missing = _delivery(store, layer, chunks, policy)
        except WrongBytes as error:
            wrong += 1
            if wrong == MAX_WRONG:
                raise Failed(_wrong(layer)) from error
            policy.pause(wrong)
            continue
        stuck = stuck + 1 if missing and store.partial_bytes(layer) <= before else 0
        if stuck == MAX_STUCK:
            raise Failed(_broken(layer, missing))
        if stuck:
            policy.pause(stuck)


def _chunks(
    source: BlobSource, layer: Layer, base: Base | None
) -> Callable[[int], Iterator[bytes]]:
    if base is None:
        return lambda offset: source.fetch(layer.digest, offset)
    return lambda _offset: source.patched(layer.digest, base)


def _delivery(
    store: Store, layer: Layer, chunks: Callable[[int], Iterator[bytes]], policy: Policy
) -> str:
    """Why the blob is not complete yet; empty when it is."""
    try:
        store.receive(layer, chunks, policy.stop)
    except SourceTrouble as error:
        return str(error)
    return "" if store.has(layer.digest) else "it ended too early"


def _wrong(layer: Layer) -> Failure:
    return Failure(
        FailureKind.PERMANENT,
        phase="fetching",
        component="fetch",
        element=layer.digest,
        message=f"the blob's bytes do not match its digest ({layer.path}, {MAX_WRONG} deliveries)",
        hint="publish the bundle again: what the manager stores is not what was signed",
    )


def _broken(layer: Layer, trouble: str) -> Failure:
    return Failure(
        FailureKind.TRANSIENT,
        phase="fetching",
        component="fetch",
        element=layer.digest,
        message=f"{layer.path} could not be fetched: {trouble}",
        hint="the device tries again by itself",
    )
