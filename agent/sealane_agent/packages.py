"""Reads which packages are installed, and what they offer by entry point.

As packaging standards lay it out: folders `NAME-VERSION.dist-info` on the path, with `METADATA`
and `entry_points.txt` in them. The standard library's reader brings an e-mail parser along: 1 MB
in a supervisor, and in every worker.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_SEPARATORS = re.compile(r"[-_.]+")


@dataclass(frozen=True, slots=True)
class Offer:
    """An entry point.

    Attributes:
        place: `module:object`.
        version: of the package that offers it.
    """

    name: str
    place: str
    version: str


def installed_version(package: str, path: Iterable[str] | None = None) -> str | None:
    """The version of a package; None where it is not installed. `path`: else `sys.path`."""
    found = _installed(path).get(_plain(package))
    return None if found is None else _version(found)


@cache
def agent_version() -> str:
    """The version of this software."""
    found = installed_version("sealane-agent")
    assert found is not None  # noqa: S101 - this module is part of it
    return found


def offers(group: str, path: Iterable[str] | None = None) -> tuple[Offer, ...]:
    """The entry points of a group. `path`: else `sys.path`."""
    return tuple(
        Offer(name, place, _version(folder))
        for folder in _installed(path).values()
        for name, place in _listed(folder, group)
    )


def _installed(path: Iterable[str] | None) -> dict[str, Path]:
    """By plain name; what comes first on the path is what an import finds."""
    found: dict[str, Path] = {}
    for place in dict.fromkeys(sys.path if path is None else path):
        for folder in sorted(Path(place or ".").glob("*.dist-info")):
            found.setdefault(_plain(folder.name.partition("-")[0]), folder)
    return found


def _plain(package: str) -> str:
    return _SEPARATORS.sub("-", package).lower()


def _version(folder: Path) -> str:
    """From the head of the metadata; where that cannot be read, from the folder's name."""
    for line in _lines(folder / "METADATA"):
        if not line:
            break
        if line.startswith("Version:"):
            return line.partition(":")[2].strip()
    return folder.name.removesuffix(".dist-info").partition("-")[2]


def _listed(folder: Path, group: str) -> Iterator[tuple[str, str]]:
    inside = False
    for line in _lines(folder / "entry_points.txt"):
        text = line.strip()
        if text.startswith("["):
            inside = text == f"[{group}]"
        elif inside and "=" in text and not text.startswith("#"):
            name, _, place = text.partition("=")
            yield name.strip(), place.partition("[")[0].strip()


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:  # not every package has the file
        return []
