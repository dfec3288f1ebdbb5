"""Signs director documents with the manager's online key, the one that the root lists now.

The last version that a device was sent is kept by the caller, with the device: `next_version` then
grows over restarts, and over a restore from backup because it is never below the unix time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sealane.audit.checkpoint import signed
from sealane.trust.director import to_targets
from tuf.api.metadata import Metadata
from tuf.api.serialization.json import JSONSerializer

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from sealane.audit.checkpoint import Checkpoint
    from sealane.trust.documents import DirectorDocument
    from securesystemslib.signer import Signer


def next_version(last: int, issued: datetime) -> int:
    """The version of a document that follows `last` (0 when there was none)."""
    return max(last + 1, int(issued.timestamp()))


class Director:
    """Says what devices shall run, among what the release keys approved, and what the log holds."""

    def __init__(self, signer: Callable[[], Signer]) -> None:
        self._signer = signer
        self._form = JSONSerializer(compact=True)

    def sign(self, document: DirectorDocument) -> bytes:
        """The signed document as bytes; times keep whole seconds."""
        metadata = Metadata(to_targets(document))
        metadata.sign(self._signer())
        return metadata.to_bytes(self._form)

    @property
    def key(self) -> str:
        """The id of the key that signs now."""
        return self._signer().public_key.keyid

    def note(self, checkpoint: Checkpoint) -> str:
        """The signed checkpoint of the audit log."""
        return signed(checkpoint, [self._signer()])
