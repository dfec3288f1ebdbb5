"""Removes keys that have lost their roles from the manager, and ends development mode so."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sealane import fileio
from tuf.api.metadata import Root, Targets

from sealane_manager.trust.edits import IN_ROOT, keys_in
from sealane_manager.trust.keys import ONLINE, signers_here
from sealane_manager.trust.settings import FleetSettings

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tuf.api.metadata import Metadata

    from sealane_manager.layout import StateFolder


def tidy(
    state: StateFolder, superseded: Iterable[Metadata[Any]], valid: Iterable[Metadata[Any]]
) -> None:
    """Remove keys that superseded documents list, and no current or pending one.

    What no document ever listed is left alone: its proposal may be on the way. When no key of an
    offline role is left, the fleet is no longer in development mode.
    """
    kept = tuple(valid)
    listed = _listed(kept)
    lost = _listed(superseded) - listed
    held = set()
    for path, signer in signers_here(state.keys):
        keyid = signer.public_key.keyid
        held.add(keyid)
        if keyid in lost:
            fileio.remove(path)
    settings = FleetSettings.load(state.settings)
    if kept and settings.development and not held & listed - _online(kept):
        fileio.replace(state.settings, replace(settings, development=False).encode())


def _listed(documents: Iterable[Metadata[Any]]) -> set[str]:
    return {keyid for document in documents for keyid in _keys_of(document)}


def _keys_of(document: Metadata[Any]) -> Iterator[str]:
    if isinstance(document.signed, Root):
        for role in IN_ROOT:
            yield from keys_in(document.signed, role)
    elif isinstance(document.signed, Targets) and document.signed.delegations:
        for delegated in (document.signed.delegations.roles or {}).values():
            yield from delegated.keyids


def _online(documents: Iterable[Metadata[Any]]) -> set[str]:
    roots = (document.signed for document in documents if isinstance(document.signed, Root))
    return {keyid for root in roots for role in ONLINE for keyid in keys_in(root, role)}
