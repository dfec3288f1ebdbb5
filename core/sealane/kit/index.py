"""What a kit is: everything that devices without network need for a release, in one file.

    sealane-kit 1                                one line
    {"id": …, "documents": {…}, …}               one line of JSON: names and sizes, in this order
    documents, metadata, blobs                   their bytes, one after the other, each kind by name

Documents are the director's, one for each device, signed for it and carried without a nonce.
Nothing in a kit is trusted: a device verifies it as if it had come over the wire. Names in it never
become paths, nothing is compressed, and the sizes must add up to the file's, so there is nothing to
unpack, to follow or to inflate. The same parts make the same bytes. Pure.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Final, TypeVar

from sealane.errors import KitError, SealaneError
from sealane.limits import (
    BLOB_BYTES,
    DIRECTOR_DOCUMENT_BYTES,
    MIB,
    TARGETS_BYTES,
)
from sealane.names import DeviceId, parse_device, parse_digest

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from sealane.names import Digest

MAGIC: Final = b"sealane-kit 1\n"
INDEX_BYTES: Final = 8 * MIB
MAX_DOCUMENTS: Final = 10_000
MAX_METADATA: Final = 4096
MAX_BLOBS: Final = 4096

_KINDS: Final = ("documents", "metadata", "blobs")
_PART: Final = r"[A-Za-z0-9][A-Za-z0-9._@-]*"
_METADATA_NAME: Final = re.compile(rf"{_PART}(?:/{_PART}){{0,2}}")
_NAME_CHARS: Final = 256
_ID: Final = re.compile(r"kit-[a-z0-9]{1,32}")
_Name = TypeVar("_Name", bound=str)
_HINT: Final = "copy the file again, or ask for another kit"


@dataclass(frozen=True, slots=True)
class Index:
    """What stands at the beginning of a kit; sizes in bytes.

    Attributes:
        id: names the kit; the rollout of what it brings.
        fleet: whose it is, for people.
        until: the documents expire.
        documents: of each device.
        metadata: of each file of the trust repository.
        blobs: of each digest.
    """

    id: str
    fleet: str
    until: datetime
    documents: Mapping[DeviceId, int]
    metadata: Mapping[str, int]
    blobs: Mapping[Digest, int]

    @property
    def content_bytes(self) -> int:
        """What follows the index."""
        return sum(sum(each.values()) for each in (self.documents, self.metadata, self.blobs))

    def encode(self) -> bytes:
        """The beginning of the file."""
        fields = {
            "id": self.id,
            "fleet": self.fleet,
            "until": self.until.isoformat(),
            **{kind: dict(sorted(getattr(self, kind).items())) for kind in _KINDS},
        }
        return MAGIC + json.dumps(fields, separators=(",", ":")).encode() + b"\n"


def parse_index(content: bytes) -> Index:
    """Read the line of JSON; raises KitError."""
    try:
        fields: dict[str, Any] = json.loads(content)
        documents = {parse_device(name): size for name, size in fields["documents"].items()}
        blobs = {parse_digest(name): size for name, size in fields["blobs"].items()}
        index = Index(
            _matching(_ID, fields["id"]),
            _text(fields["fleet"]),
            datetime.fromisoformat(_text(fields["until"])),
            _sized(documents, MAX_DOCUMENTS, DIRECTOR_DOCUMENT_BYTES),
            _sized(_named(fields["metadata"]), MAX_METADATA, TARGETS_BYTES),
            _sized(blobs, MAX_BLOBS, BLOB_BYTES),
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, SealaneError) as error:
        raise KitError(f"its index is malformed: {_why(error)}", hint=_HINT) from error
    if index.until.tzinfo is None:
        raise KitError("its index is malformed: a time without a zone", hint=_HINT)
    return index


def _why(error: Exception) -> str:
    match error:
        case UnicodeDecodeError():
            return "it is no text"
        case json.JSONDecodeError():
            return "it is no JSON"
        case KeyError():
            return f"it lacks {error}"
        case RecursionError():
            return "it is nested too deeply"
        case AttributeError() | TypeError():
            return "a part of it is of another kind"
    return f"{error!s:.120}"


def _named(files: Mapping[str, int]) -> Mapping[str, int]:
    return {_matching(_METADATA_NAME, name): size for name, size in files.items()}


def _matching(form: re.Pattern[str], text: object) -> str:
    if not isinstance(text, str) or len(text) > _NAME_CHARS or not form.fullmatch(text):
        raise ValueError(f"{str(text)[:40]!r} is no name")
    return text


def _text(text: object) -> str:
    if not isinstance(text, str) or len(text) > _NAME_CHARS:
        raise TypeError("expected a short text")
    return text


def _sized(sizes: Mapping[_Name, int], most: int, largest: int) -> Mapping[_Name, int]:
    if len(sizes) > most:
        raise ValueError(f"more than {most} entries")
    for name, size in sizes.items():
        if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size <= largest:
            raise ValueError(f"{str(name)[:40]} has a size beyond its limit")
    return dict(sorted(sizes.items()))
