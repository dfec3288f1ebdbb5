"""Hashes and verifies again, without network, everything that a slot or its last known good needs.

What both authorities agreed on is judged by the metadata that this device holds, at the newest time
that it knows to have passed; nothing is changed, and a supervisor may run.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from hashlib import file_digest
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sealane.bundle.deployment import parse_deployment
from sealane.bundle.fit import needed
from sealane.bundle.manifest import DEPLOYMENT_PATH, layer_at, parse_manifest
from sealane.errors import BundleError, InvalidName, TrustError
from sealane.names import AGENT_SLOT, PACKAGE_MANIFEST, hex_of
from sealane.trust.held import CACHE
from sealane.trust.holdings import Holdings

from sealane_agent.diagnosis.findings import failed, warning, well
from sealane_agent.layout import ACTIVE, LKG, Pointer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sealane.bundle.types import Layer, Manifest
    from sealane.names import SlotName

    from sealane_agent.diagnosis.findings import Finding
    from sealane_agent.layout import StateFolder

_FETCH_AGAIN: Final = "nothing else is broken: it is fetched again when the agent next stages it"
_NOT_LISTED: Final = "it keeps serving; ask the releaser whether it was revoked"


@dataclass(frozen=True, slots=True)
class Kept:
    """What one pointer names."""

    slot: SlotName
    which: str
    pointer: Pointer


def verify(folder: StateFolder) -> Iterator[Finding]:
    """Findings for every pointer of every slot."""
    slots = (*folder.slots(), AGENT_SLOT)
    with tempfile.TemporaryDirectory(prefix="sealane-") as scratch:
        cache = Path(scratch)
        holdings = _holdings(folder, cache)
        if not folder.slots() and not (folder.trust / CACHE / "timestamp.json").exists():
            hint = "start the agent: it comes with its first session"
            yield warning("trust", "there is no metadata of the release authority yet", hint)
        elif isinstance(holdings, TrustError):
            yield failed("trust", str(holdings), holdings.hint or "enrol this device again")
        else:
            yield well("trust", "the release authority's metadata is signed and whole")
        known = holdings if isinstance(holdings, Holdings) else None
        for slot in slots:
            for which in (ACTIVE, LKG):
                yield from _pointer(folder, slot, which, known)


def _holdings(folder: StateFolder, scratch: Path) -> Holdings | TrustError:
    try:
        return Holdings.of(folder.trust, scratch / "tuf")
    except TrustError as error:
        return error


def _pointer(
    folder: StateFolder, slot: SlotName, which: str, holdings: Holdings | None
) -> Iterator[Finding]:
    path, check = folder.pointer(slot, which), f"{slot} {which}"
    try:
        kept = Kept(slot, which, Pointer.decode(path.read_bytes()))
    except FileNotFoundError:
        return
    except (OSError, ValueError, KeyError, TypeError, InvalidName) as error:
        hint = "restart the agent: it puts the pointer back from its journal"
        yield failed(check, f"its pointer cannot be read: {error}", hint)
        return
    if kept.pointer.manifest == PACKAGE_MANIFEST:
        yield well(
            check, "the version that the package brought: the package manager checks its files"
        )
        return
    yield _bytes(folder, kept)
    if holdings is not None:
        yield _listed(kept, holdings)


def _listed(kept: Kept, holdings: Holdings) -> Finding:
    check, release = f"{kept.slot} {kept.which}", kept.pointer.release
    found = holdings.manifest(release)
    if found is None:
        says = f"{release} is not listed any more by its family's keys"
        return warning(check, says, _NOT_LISTED)
    if found != kept.pointer.manifest:
        hint = "stop the agent and keep this folder for whoever looks into it"
        return failed(check, f"{release} is listed with other bytes than those here", hint)
    return well(check, f"{release} is signed by its family's keys")


def _bytes(folder: StateFolder, kept: Kept) -> Finding:
    check, pointer = f"{kept.slot} {kept.which}", kept.pointer
    try:
        manifest = _manifest(folder, pointer)
        layers = _layers(folder, manifest, kept)
    except (OSError, BundleError) as error:
        return failed(check, f"{pointer.release} cannot be read: {error}", _FETCH_AGAIN)
    changed = [layer for layer in layers if not _is_whole(folder, layer)]
    if changed:
        names = ", ".join(layer.path for layer in changed)
        says = f"{pointer.release} has changed on the disk: {names}"
        return failed(
            check, says, "look at the disk (smartctl); publish or fetch the release again"
        )
    total = sum(layer.size for layer in layers)
    return well(check, f"{pointer.release}: {len(layers)} files, {total} bytes as they should be")


def _manifest(folder: StateFolder, pointer: Pointer) -> Manifest:
    content = folder.blob(pointer.manifest).read_bytes()
    manifest = parse_manifest(content)
    if manifest.digest != pointer.manifest:
        raise BundleError("its manifest has changed on the disk")
    return manifest


def _layers(folder: StateFolder, manifest: Manifest, kept: Kept) -> tuple[Layer, ...]:
    """What the variant needs that serves; of a version of the agent, whatever of it is here."""
    if kept.slot == AGENT_SLOT:
        return tuple(each for each in manifest.layers if folder.blob(each.digest).is_file())
    contract = layer_at(manifest, DEPLOYMENT_PATH)
    deployment = parse_deployment(folder.blob(contract.digest).read_bytes())
    chosen = [each for each in deployment.variants if each.name == kept.pointer.variant]
    return needed(manifest.layers, deployment, chosen)


def _is_whole(folder: StateFolder, layer: Layer) -> bool:
    """The blob, and the file that the worker loads, which is the same one."""
    try:
        with folder.blob(layer.digest).open("rb") as blob:
            return file_digest(blob, "sha256").hexdigest() == hex_of(layer.digest)
    except OSError:
        return False
