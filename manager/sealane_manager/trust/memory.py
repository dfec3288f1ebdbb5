"""Remembers, beside a holder's key, which root each fleet had when the key was last used.

A manager, or whoever carries a file, says what is current, and could say something else to each
holder. From the root that is remembered, every later one is followed as a device follows it.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from sealane import fileio
from sealane.errors import SealaneError
from tuf.api.metadata import Root

from sealane_manager.errors import Refused
from sealane_manager.trust import submission
from sealane_manager.trust.signers import PUBLIC_SUFFIX

if TYPE_CHECKING:
    from pathlib import Path

    from tuf.api.metadata import Metadata

FLEETS: Final = 64
"""Fleets that one key remembers; the one that was used least recently is forgotten."""

SUFFIX: Final = ".seen.json"


def recall(key: Path, fleet: str) -> Metadata[Root] | None:
    """The root that was remembered; None at first. Raises SealaneError when it is damaged."""
    path = memory_of(key)
    fields = _read(path).get(fleet)
    if fields is None:
        return None
    try:
        return submission.parse(Root, json.dumps(fields).encode())
    except Refused as error:
        raise _damaged(path) from error


def remember(key: Path, fleet: str, root: Metadata[Root]) -> None:
    """Keep a root; raises OSError when the folder cannot be written."""
    path = memory_of(key)
    fields = _read(path)
    fields.pop(fleet, None)
    kept = dict(list(fields.items())[-(FLEETS - 1) :])
    kept[fleet] = root.to_dict()
    fileio.replace(path, json.dumps(kept, indent=1).encode() + b"\n")


def memory_of(key: Path) -> Path:
    """Where it lies: beside the private key, or the public file of one in a token or a service."""
    return key.with_name(key.name.removesuffix(PUBLIC_SUFFIX).removesuffix(".pem") + SUFFIX)


def _read(path: Path) -> dict[str, Any]:
    try:
        fields = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except PermissionError as error:
        raise SealaneError(
            f"{path} cannot be read by the owner of the state folder",
            hint="sign on a machine of your own: sealane trust export FILE, then sign FILE there",
        ) from error
    except ValueError as error:
        raise _damaged(path) from error
    if not isinstance(fields, dict):
        raise _damaged(path)
    return fields


def _damaged(path: Path) -> SealaneError:
    return SealaneError(
        f"{path} is damaged",
        hint="compare the root's fingerprint with the other holders, then remove the file",
    )
