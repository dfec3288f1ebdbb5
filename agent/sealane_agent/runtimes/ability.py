"""Asks engines what they can, once for each version of them, and remembers it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from sealane import fileio
from sealane.errors import SealaneError

from sealane_agent.runtimes.surroundings import KEPT, SETTINGS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from sealane.fleet import RuntimeFact

ENGINE_S: Final = 60.0
"""An engine that takes longer to start says nothing."""


class EngineTrouble(SealaneError):  # noqa: N818 - the word says what happened
    """An engine did not start."""


@dataclass(frozen=True, slots=True)
class Ability:
    """What an engine said."""

    accelerators: tuple[str, ...]
    opset: int
    ir_version: int


def ask_engine(name: str) -> Ability:
    """Start an engine and ask it; raises EngineTrouble."""
    command = [sys.executable, "-m", "sealane_agent.runtimes.probe", name]
    kept = {key: os.environ[key] for key in (*KEPT, "PYTHONPATH") if key in os.environ}
    try:
        done = subprocess.run(
            command,
            env={**kept, **SETTINGS},
            capture_output=True,
            text=True,
            timeout=ENGINE_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise EngineTrouble(str(error)) from error
    if done.returncode:
        said = done.stderr.strip().splitlines()
        raise EngineTrouble(said[-1] if said else f"it ended with {done.returncode}")
    try:
        found = json.loads(done.stdout.splitlines()[-1])
        return Ability(tuple(found["accelerators"]), int(found["opset"]), int(found["ir_version"]))
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise EngineTrouble(f"it said {done.stdout[:80]!r}") from error


def able(
    runtimes: Iterable[RuntimeFact], known: Path, ask: Callable[[str], Ability] = ask_engine
) -> tuple[RuntimeFact, ...]:
    """The runtimes with what their engines take; `known` keeps it until another version comes."""
    before, after = _read(known), {}
    found = []
    for fact in runtimes:
        name = f"{fact.name} {fact.version}"
        try:
            highest = before[name] if name in before else _highest(ask(fact.name))
        except EngineTrouble:
            found.append(fact)  # it is asked again at the next start; the doctor says what it is
            continue
        after[name] = highest
        found.append(replace(fact, opset=highest[0], ir_version=highest[1]))
    if after != before:
        fileio.replace(known, json.dumps(after, sort_keys=True).encode())
    return tuple(found)


def _highest(ability: Ability) -> tuple[int, int]:
    return ability.opset, ability.ir_version


def _read(known: Path) -> dict[str, tuple[int, int]]:
    try:
        found = json.loads(known.read_bytes())
        return {str(name): (int(pair[0]), int(pair[1])) for name, pair in found.items()}
    except (OSError, ValueError, TypeError, AttributeError, IndexError, KeyError):
        return {}
