"""Writes an operator's context: the folder that the command line calls a manager with."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sealane import fileio
from sealane.trust.identity import key_from_pem, key_to_pem, new_key

from sealane_manager.errors import Refused

if TYPE_CHECKING:
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

KEY: Final = "operator.key"
CERTIFICATE: Final = "operator.pem"
AUTHORITY: Final = "ca.pem"
FIELDS: Final = "context.json"


@dataclass(frozen=True, slots=True)
class Context:
    """What the manager gives an operator, beside whose key it certifies.

    Attributes:
        address: of the operators' port; empty when the manager never ran.
        certificate, authority: PEM.
    """

    fleet: str
    address: str
    certificate: bytes
    authority: bytes


def make_key(folder: Path) -> EllipticCurvePrivateKey:
    """A new key, and the folder for it; raises Refused when there is a key already."""
    if (folder / KEY).exists():
        raise Refused(f"{folder} holds a key already", hint="name another folder")
    fileio.make_folder(folder)
    key = new_key()
    fileio.replace(folder / KEY, key_to_pem(key))
    return key


def read_key(folder: Path) -> EllipticCurvePrivateKey:
    """The folder's key; raises OSError or SealaneError."""
    return key_from_pem((folder / KEY).read_bytes())


def write_context(folder: Path, given: Context) -> None:
    """Write all but the key."""
    fileio.make_folder(folder)
    fileio.replace(folder / CERTIFICATE, given.certificate)
    fileio.replace(folder / AUTHORITY, given.authority)
    fields = {"address": given.address, "fleet": given.fleet}
    fileio.replace(folder / FIELDS, json.dumps(fields, indent=2).encode() + b"\n")


def address_in(folder: Path) -> str:
    """The manager's address in a context; empty when it says none."""
    try:
        return str(json.loads((folder / FIELDS).read_bytes())["address"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""
