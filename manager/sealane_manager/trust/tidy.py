"""Removes keys that no role lists any more from the manager, and ends development mode so."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sealane import fileio
from tuf.api.metadata import Root, Targets

from sealane_manager.trust.edits import IN_ROOT, ONLINE, keys_in
from sealane_manager.trust.keys import key_files, load_signer
from sealane_manager.trust.settings import FleetSettings

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tuf.api.metadata import Metadata

    from sealane_manager.layout import StateFolder


def tidy(state: StateFolder, documents: Iterable[Metadata[Any]]) -> None:
    """Keep only keys that these documents, current and pending, list for some role.

    When none of an offline role is left, the fleet is no longer in development mode.
    """
    found = tuple(documents)
    online = {keyid for role in ONLINE for keyid in _listed(found, role)}
    offline = {keyid for role in _offline(found) for keyid in _listed(found, role)}
    held = set()
    for path in key_files(state.keys):
        keyid = load_signer(path).public_key.keyid
        if keyid in online | offline:
            held.add(keyid)
        else:
            fileio.remove(path)
    settings = FleetSettings.load(state.settings)
    if settings.development and not held & offline:
        fileio.replace(state.settings, replace(settings, development=False).encode())


def _offline(documents: Iterable[Metadata[Any]]) -> set[str]:
    families = {name for item in documents for name in _delegated(item)}
    return (set(IN_ROOT) - set(ONLINE)) | families


def _listed(documents: Iterable[Metadata[Any]], role: str) -> set[str]:
    found: set[str] = set()
    for item in documents:
        if isinstance(item.signed, Root) and role in IN_ROOT:
            found |= set(keys_in(item.signed, role))
        elif role in _delegated(item):
            found |= set(_delegated(item)[role].keyids)
    return found


def _delegated(document: Metadata[Any]) -> dict[str, Any]:
    if not isinstance(document.signed, Targets) or document.signed.delegations is None:
        return {}
    return dict(document.signed.delegations.roles or {})
