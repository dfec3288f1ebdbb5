"""Seals a sample so that only the manager reads it: HPKE (RFC 9180) to its sample key.

A sealed sample is `SLS1`, the length of the label (4 bytes, big-endian), the label as JSON, and the
ciphertext. The label is not secret; it is bound to the ciphertext, so that neither can be changed.
The device keeps no key that opens it: the sender's half of the exchange is gone once it is sealed.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from sealane.errors import InvalidName, SampleError
from sealane.limits import KIB
from sealane.names import ReleaseName, SlotName, parse_slot
from sealane.sampling.types import Trigger

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

SAMPLE_BYTES: Final = 512 * KIB
"""One sealed sample."""

KEY_BYTES: Final = 32
LABEL_BYTES: Final = 4 * KIB
TENSORS: Final = 128
LATEST: Final = 2**34
"""Seconds since 1970."""

_MAGIC: Final = b"SLS1"
_LENGTH_BYTES: Final = 4
_CONTEXT: Final = b"sealane sample 1\0"


@dataclass(frozen=True, slots=True)
class Label:
    """What is known of a sample without opening it; moments in seconds since 1970."""

    slot: SlotName
    release: str
    trigger: Trigger
    taken: int
    keep_until: int

    def encode(self) -> bytes:
        """JSON, the one way."""
        return json.dumps(asdict(self), sort_keys=True, separators=(",", ":")).encode()


@dataclass(frozen=True, slots=True)
class Part:
    """One tensor of a sample: raw little-endian bytes in C order.

    Attributes:
        kind: `input` or `output`.
        datatype: in the words of the Open Inference Protocol.
    """

    kind: str
    name: str
    datatype: str
    shape: tuple[int, ...]
    data: bytes


def seal(label: Label, parts: Sequence[Part], key: bytes) -> bytes:
    """Seal tensors for whoever holds the private half of this X25519 key."""
    from sealane.sampling import hpke  # noqa: PLC0415 - an endpoint without samples is spared 6 MB

    named = label.encode()
    ciphertext = hpke.encrypt(_written(parts), key, _CONTEXT + named)
    return _MAGIC + len(named).to_bytes(_LENGTH_BYTES, "big") + named + ciphertext


def read_label(sealed: bytes) -> Label:
    """What a sealed sample says of itself; raises SampleError."""
    return _label(_cut(sealed)[0])


def unseal(sealed: bytes, key: X25519PrivateKey) -> tuple[Label, tuple[Part, ...]]:
    """Open a sample; raises SampleError when it is not for this key, or not as it was sealed."""
    from sealane.sampling import hpke  # noqa: PLC0415 - the same

    named, ciphertext = _cut(sealed)
    content = hpke.decrypt(ciphertext, key, _CONTEXT + named)
    return _label(named), _read(content)


def _cut(sealed: bytes) -> tuple[bytes, bytes]:
    start = len(_MAGIC) + _LENGTH_BYTES
    length = int.from_bytes(sealed[len(_MAGIC) : start], "big")
    if sealed[: len(_MAGIC)] != _MAGIC or not len(sealed) <= SAMPLE_BYTES or length > LABEL_BYTES:
        raise SampleError("this is no sealed sample, or a larger one than may be")
    named = sealed[start : start + length]
    if len(named) != length:
        raise SampleError("the sample is cut off")
    return named, sealed[start + length :]


def _label(named: bytes) -> Label:
    try:
        fields = json.loads(named)
        label = Label(
            slot=parse_slot(fields["slot"]),
            release=str(ReleaseName.parse(fields["release"])),
            trigger=Trigger(fields["trigger"]),
            taken=_moment(fields["taken"]),
            keep_until=_moment(fields["keep_until"]),
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, InvalidName) as error:
        raise SampleError("the label of the sample is malformed") from error
    if label.encode() != named:
        raise SampleError("the label of the sample is not written the one way")
    return label


def _moment(value: object) -> int:
    if type(value) is not int or not 0 <= value <= LATEST:
        raise ValueError("no moment")
    return value


def _written(parts: Sequence[Part]) -> bytes:
    table = [[part.kind, part.name, part.datatype, part.shape, len(part.data)] for part in parts]
    head = json.dumps(table).encode()
    body = b"".join(part.data for part in parts)
    return len(head).to_bytes(_LENGTH_BYTES, "big") + head + body


def _read(content: bytes) -> tuple[Part, ...]:
    start = _LENGTH_BYTES + int.from_bytes(content[:_LENGTH_BYTES], "big")
    parts: list[Part] = []
    try:
        table: Any = json.loads(content[_LENGTH_BYTES:start])
        for kind, name, datatype, shape, length in table[:TENSORS]:
            data = _piece(content, start, length)
            sizes = tuple(map(int, shape))
            parts.append(Part(str(kind), str(name), str(datatype), sizes, data))
            start += len(data)
    except (ValueError, TypeError, RecursionError) as error:
        raise SampleError("what was sealed is malformed") from error
    return tuple(parts)


def _piece(content: bytes, start: int, length: object) -> bytes:
    if type(length) is not int or not 0 <= length <= len(content) - start:
        raise ValueError("a tensor is cut off")
    return content[start : start + length]
