"""Finds a runtime by the name that a variant uses."""

from __future__ import annotations

from pkgutil import resolve_name
from typing import TYPE_CHECKING

from sealane_agent.packages import offers
from sealane_agent.runtimes.base import ENTRY_POINTS, RuntimeMissing
from sealane_agent.runtimes.inventory import EXTRAS

if TYPE_CHECKING:
    from sealane_agent.runtimes.base import Runtime


def find_runtime(name: str) -> Runtime:
    """Import and make the runtime; raises RuntimeMissing with the command that installs it."""
    try:
        runtime: Runtime = resolve_name(_place(name))()
    except ImportError as error:
        raise RuntimeMissing(
            f"the runtime {name} cannot be imported: {error}", hint=_install(name)
        ) from error
    return runtime


def _place(name: str) -> str:
    for offer in offers(ENTRY_POINTS):
        if offer.name == name:
            return offer.place
    raise RuntimeMissing(f"no runtime named {name} is installed", hint=_install(name))


def _install(name: str) -> str:
    if name in EXTRAS:
        return f"pip install 'sealane-agent[{EXTRAS[name]}]'"
    return f"install the package that provides the runtime {name} ({ENTRY_POINTS})"
