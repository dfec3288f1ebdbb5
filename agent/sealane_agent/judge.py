"""Who judges director documents for this device."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import timedelta

    from sealane.audit.position import Position
    from sealane.fleet import DeviceFacts, Memory, MetadataFile
    from sealane.trust.verifier import Accepted, MetadataSource


class Judge(Protocol):
    """Judges director documents: `sealane.trust.verifier.Verifier`."""

    def new_nonce(self) -> str:
        """A question that one document may answer."""
        ...

    def seen(self) -> Position:
        """How much of the audit log was seen."""
        ...

    def memory(self) -> Memory:
        """What was seen, for a manager that may have forgotten it."""
        ...

    def files(self, above: Mapping[str, int]) -> Iterator[MetadataFile]:
        """Metadata that this device holds above these versions of its roles."""
        ...

    def clock_offset(self) -> timedelta | None:
        """How far this machine's clock is ahead of the time that is known; None if none is."""
        ...

    def accept_carried(
        self, document: bytes, source: MetadataSource, facts: DeviceFacts
    ) -> Accepted:
        """What a document asks for that was carried here with its metadata; raises TrustError."""
        ...

    def accept(
        self, document: bytes, nonce: str | None, facts: DeviceFacts, proof: Sequence[bytes]
    ) -> Accepted:
        """What the document asks for; raises TrustError, or what the transport raises."""
        ...
