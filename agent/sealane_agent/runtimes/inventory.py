"""Which runtimes this device has, told without importing any of them.

The supervisor asks this; it must stay small, so only the metadata of packages is read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sealane.fleet import RuntimeFact

from sealane_agent.packages import installed_version, offers
from sealane_agent.runtimes.base import ENTRY_POINTS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sealane_agent.packages import Offer

EXTRAS: Final[Mapping[str, str]] = {"onnxruntime": "onnx", "openvino": "openvino"}
"""Runtime to the extra of sealane-agent that installs its engine."""

_ENGINES: Final[Mapping[str, tuple[str, ...]]] = {
    "onnxruntime": ("onnxruntime", "onnxruntime-gpu"),
    "openvino": ("openvino",),
}


def installed_runtimes() -> tuple[RuntimeFact, ...]:
    """Every runtime whose engine is installed, by name."""
    found = {offer.name: _version(offer) for offer in offers(ENTRY_POINTS)}
    return tuple(
        RuntimeFact(name=name, version=text, accelerators=("cpu",))
        for name, text in sorted(found.items())
        if text is not None
    )


def _version(offer: Offer) -> str | None:
    """The engine's version; of a third party's runtime that of its own package."""
    if offer.name not in _ENGINES:
        return offer.version
    versions = map(installed_version, _ENGINES[offer.name])
    return next((version for version in versions if version is not None), None)
