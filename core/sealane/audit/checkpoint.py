"""Checkpoints of the audit log as signed notes (C2SP signed-note and tlog-checkpoint). Pure.

    sealane.audit/acme                                the log: one per fleet
    20852                                             entries
    CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=      root of their Merkle tree
    epoch 1                                           grows whenever its loss was declared

    — sealane.audit/acme Az3grlgtzPICa5OS8npVmf1M…    one line for each key of the director

It begins with another word than everything else that a director signs, so that no signature of one
kind counts for the other.
"""

from __future__ import annotations

import hashlib
from base64 import b64decode, b64encode
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from securesystemslib.exceptions import UnverifiedSignatureError
from securesystemslib.signer import Signature

from sealane.audit.merkle import MAX_SIZE
from sealane.audit.position import Position
from sealane.errors import InvalidName, TrustError
from sealane.names import parse_fleet
from sealane.trust.steps import Step

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from securesystemslib.signer import Key, Signer

NOTE_CHARS: Final = 4096
"""A checkpoint with the signatures of a dozen keys."""

_ORIGIN: Final = "sealane.audit/"
_EPOCH: Final = "epoch "
_SIGNED: Final = "— "
_ED25519: Final = b"\x01"
_OTHER: Final = b"\xff"
_HASH_BYTES: Final = 32
_LINES: Final = 4


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The whole log at one moment, in one hash."""

    fleet: str
    position: Position
    root: bytes


def signed(checkpoint: Checkpoint, signers: Sequence[Signer]) -> str:
    """The checkpoint as a note with a signature of each."""
    text = _text(checkpoint)
    return f"{text}\n" + "".join(_signature(checkpoint.fleet, text, each) for each in signers)


def verified(note: str, keys: Mapping[str, Key], threshold: int = 1) -> Checkpoint:
    """Read a note that enough of the keys signed; raises TrustError."""
    if len(note) > NOTE_CHARS:
        raise TrustError(Step.HISTORY, f"the checkpoint is longer than {NOTE_CHARS} characters")
    body, _, signatures = note.partition("\n\n")
    checkpoint, text = parsed(note), f"{body}\n".encode()
    name = _ORIGIN + checkpoint.fleet
    lines = [line for line in signatures.split("\n") if line.startswith(f"{_SIGNED}{name} ")]
    values = [_decoded(line.rpartition(" ")[2]) for line in lines]
    good = sum(1 for key in keys.values() if _signs(key, name, text, values))
    if good < threshold:
        message = f"{good} of the {threshold} keys that are needed signed the checkpoint"
        raise TrustError(Step.HISTORY, message)
    return checkpoint


def parsed(note: str) -> Checkpoint:
    """Read a note without asking who signed it; raises TrustError."""
    lines = note.partition("\n\n")[0].split("\n")
    try:
        origin, size, root, epoch = lines[:_LINES]
        found = Checkpoint(
            parse_fleet(origin.removeprefix(_ORIGIN)),
            Position(_number(epoch.removeprefix(_EPOCH)), _number(size)),
            b64decode(root, validate=True),
        )
    except (ValueError, InvalidName) as error:
        raise TrustError(Step.HISTORY, "the checkpoint cannot be read") from error
    if _text(found) != "\n".join(lines) + "\n" or len(found.root) != _HASH_BYTES:
        raise TrustError(Step.HISTORY, "the checkpoint is not written as it should be")
    return found


def _signature(fleet: str, text: str, signer: Signer) -> str:
    name = _ORIGIN + fleet
    signature = bytes.fromhex(signer.sign(text.encode()).signature)
    line = b64encode(_key_hash(name, signer.public_key) + signature).decode("ascii")
    return f"{_SIGNED}{name} {line}\n"


def _text(checkpoint: Checkpoint) -> str:
    root = b64encode(checkpoint.root).decode("ascii")
    position = checkpoint.position
    return f"{_ORIGIN}{checkpoint.fleet}\n{position.size}\n{root}\n{_EPOCH}{position.epoch}\n"


def _number(text: str) -> int:
    if not (text.isascii() and text.isdecimal()) or len(text) > len(str(MAX_SIZE)):
        raise ValueError("not a number")
    return int(text)


def _decoded(text: str) -> bytes:
    try:
        return b64decode(text, validate=True)
    except ValueError:
        return b""


def _key_hash(name: str, key: Key) -> bytes:
    """What tells the signatures of a note apart, as the specification has it."""
    kind = _ED25519 if key.keytype == "ed25519" else _OTHER
    value = key.keyval["public"] if kind == _ED25519 else key.keyid
    return hashlib.sha256(name.encode() + b"\n" + kind + bytes.fromhex(value)).digest()[:4]


def _signs(key: Key, name: str, text: bytes, values: Sequence[bytes]) -> bool:
    mine = _key_hash(name, key)
    for value in values:
        if value[:4] == mine:
            try:
                key.verify_signature(Signature(key.keyid, value[4:].hex()), text)
            except UnverifiedSignatureError:
                continue
            return True
    return False
