"""Chooses from requirements.lock what one package needs; decides, and touches nothing."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_PIN: Final = re.compile(r"^([\w.-]+)(?:\[[\w,-]+\])?==(\S+)", re.MULTILINE)


class NotLocked(Exception):  # noqa: N818 - the word says what is wrong
    """The lock does not hold what a package needs."""


def pins(text: str) -> dict[str, str]:
    """Names and versions of every `name==version` line."""
    return dict(_PIN.findall(text))


def blocks(lock: str) -> Mapping[tuple[str, str], str]:
    """The hashes of every locked version, by name and version."""
    found = {}
    for block in re.split(r"\n(?=\S)", lock):
        match = _PIN.match(block)
        if match:
            found[match[1], match[2]] = "\n".join(re.findall(r"--hash=\S+", block))
    return found


def choose(lock: str, wanted: Mapping[str, str], without: Iterable[str] = ()) -> str:
    """The requirements with their hashes; raises NotLocked."""
    held, chosen = blocks(lock), []
    for name, version in sorted(wanted.items()):
        if name in without:
            continue
        if (name, version) not in held:
            raise NotLocked(f"{name}=={version} is not in requirements.lock: run scripts/lock")
        hashes = held[name, version].replace("\n", " \\\n    ")
        chosen.append(f"{name}=={version} \\\n    {hashes}\n")
    return "".join(chosen)
