"""Decides what a release would mean for one device: variant, bytes, or why it would fail. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sealane.bundle.fit import eligible, needed, obstacles
from sealane.limits import PATCH_BYTES
from sealane.trust.requirements import unmet

from sealane_manager.selector import SITE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from sealane.bundle.types import Deployment, Layer
    from sealane.fleet import DeviceFacts
    from sealane.names import DeviceId, Digest

LINK: Final = "link-kbit"
"""The label that says how fast a device's line is, in kbit/s; devices of a site share it."""

NEVER_SEEN: Final = "was never in session: nobody knows what it can run"


@dataclass(frozen=True, slots=True)
class Prospect:
    """A device that a selector means.

    Attributes:
        standing: a word of `Standing`.
        active, lkg: releases that its slot had when it was last heard.
        assigned: what the director wants there; empty for nothing.
        busy: the rollout that is changing the slot there now.
    """

    device: DeviceId
    standing: str
    labels: Mapping[str, str]
    facts: DeviceFacts | None
    active: str = ""
    lkg: str = ""
    assigned: str = ""
    busy: str = ""

    @property
    def site(self) -> str:
        """Whose line it shares; its own when it has no site."""
        return self.labels.get(SITE, "")

    @property
    def link_kbit(self) -> int | None:
        """How fast that line is; None when no label says so."""
        text = self.labels.get(LINK, "")
        return int(text) if text.isascii() and text.isdigit() and int(text) else None


@dataclass(frozen=True, slots=True)
class Bundle:
    """A release as far as a forecast needs it; without a deployment every device runs it alike."""

    layers: tuple[Layer, ...]
    deployment: Deployment | None = None
    requires: tuple[tuple[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class Fate:
    """What the release would do on a kind of device.

    Attributes:
        variants: those that it would measure; the best by its objective wins.
        trouble: why it would fail there; empty when it should not.
        layers: files that it needs.
    """

    variants: tuple[str, ...] = ()
    trouble: str = ""
    layers: tuple[Layer, ...] = ()


@dataclass(frozen=True, slots=True)
class Load:
    """Bytes that travel to a device: as files, and less with the patches that are there."""

    whole: int = 0
    patched: int = 0


NOTHING: Final = Load()


def fate(bundle: Bundle, facts: DeviceFacts | None) -> Fate:
    """What the release would do on a device that is so."""
    if facts is None:
        return Fate(trouble=NEVER_SEEN)
    complaint = unmet(dict(bundle.requires), facts)
    if complaint:
        return Fate(trouble=complaint)
    deployment = bundle.deployment
    if deployment is None:
        return Fate(layers=bundle.layers)
    chosen = eligible(deployment.variants, facts)
    if not chosen:
        return Fate(trouble=f"no variant fits: {obstacles(deployment.variants, facts)}")
    files = needed(bundle.layers, deployment, chosen)
    return Fate(tuple(variant.name for variant in chosen), layers=files)


def load(
    fate: Fate, before: tuple[Layer, ...], known: Callable[[Digest, Digest], int | None]
) -> Load:
    """Bytes that travel to a device which holds the files of `before`.

    A file that is there already does not travel. One with the name of an old one may come as a
    patch, if `known` says that there is one (0: none that is worth it).
    """
    here = {layer.digest for layer in before}
    bases = {layer.path: layer.digest for layer in before if layer.size <= PATCH_BYTES}
    whole = patched = 0
    for layer in fate.layers:
        if layer.digest in here:
            continue
        whole += layer.size
        base = bases.get(layer.path)
        patch = known(base, layer.digest) if base else None
        patched += patch or layer.size
    return Load(whole, patched)
