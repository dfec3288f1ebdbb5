"""Asks engines what they can and find; remembers it while versions and drivers stay the same."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from sealane.errors import SealaneError

from sealane_agent.runtimes.packs import packed
from sealane_agent.runtimes.surroundings import KEPT, SETTINGS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from sealane.fleet import RuntimeFact

    from sealane_agent.recollection import Recollection

ENGINE_S: Final = 60.0
"""An engine that takes longer to start says nothing."""

_MESSAGE_CHARS: Final = 300

_HIGHEST: Final = 10**6
"""Opset or IR version: what is larger says nothing."""


class EngineTrouble(SealaneError):  # noqa: N818 - the word says what happened
    """An engine did not start."""


class Missing(NamedTuple):
    """An accelerator that an engine does not find, why, and what to do."""

    accelerator: str
    says: str
    hint: str


@dataclass(frozen=True, slots=True)
class Ability:
    """What an engine said."""

    accelerators: tuple[str, ...]
    opset: int
    ir_version: int
    missing: tuple[Missing, ...] = ()


@dataclass(frozen=True, slots=True)
class Known:
    """What is remembered of one runtime.

    Attributes:
        version: of its engine, and what `drivers` said, when it was asked.
        had: every accelerator that it ever found here.
    """

    version: str
    ability: Ability
    had: tuple[str, ...] = ()

    def lost(self) -> tuple[Missing, ...]:
        """What it found once and finds no longer."""
        gone = set(self.had) - set(self.ability.accelerators)
        said = {each.accelerator: each for each in self.ability.missing}
        nothing = "the engine does not find it any more"
        return tuple(said.get(each, Missing(each, nothing, "")) for each in sorted(gone))


def ask_engine(name: str) -> Ability:
    """Start an engine and ask it, and those that its packs bring; raises EngineTrouble."""
    own = _ask(name, "cpu")
    for accelerator in packed(name):
        try:
            own = _with_pack(own, _ask(name, accelerator), accelerator)
        except EngineTrouble as error:
            trouble = Missing(accelerator, str(error), "install its package again")
            own = _with_pack(own, Ability((), 0, 0, (trouble,)), accelerator)
    return own


def _with_pack(own: Ability, pack: Ability, accelerator: str) -> Ability:
    """What the engine finds, and of one accelerator what its pack's engine finds."""
    missing = tuple(each for each in own.missing if each.accelerator != accelerator)
    if accelerator in pack.accelerators:
        return replace(own, accelerators=(*own.accelerators, accelerator), missing=missing)
    theirs = tuple(each for each in pack.missing if each.accelerator == accelerator)
    return replace(own, missing=(*missing, *theirs))


def _ask(name: str, accelerator: str) -> Ability:
    command = [sys.executable, "-m", "sealane_agent.runtimes.probe", name, accelerator]
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
        return _ability(json.loads(done.stdout.splitlines()[-1]))
    except (ValueError, KeyError, TypeError, IndexError, OverflowError) as error:
        raise EngineTrouble(f"it said {done.stdout[:80]!r}") from error


def able(
    runtimes: Iterable[RuntimeFact],
    known: Recollection,
    ask: Callable[[str], Ability] = ask_engine,
    drivers: str = "",
) -> tuple[RuntimeFact, ...]:
    """The runtimes with what their engines take and find.

    `known` keeps it until another version comes, or `drivers` says something else.
    """
    before, after = recall(known), {}
    found = []
    for fact in runtimes:
        version, last = f"{fact.version} {drivers}".strip(), before.get(fact.name)
        try:
            same = last is not None and last.version == version
            ability = last.ability if same and last is not None else ask(fact.name)
        except EngineTrouble:
            found.append(fact)  # it is asked again at the next start; the doctor says what it is
            if last is not None:
                after[fact.name] = replace(last, version="")
            continue
        had = sorted({*(last.had if last else ()), *ability.accelerators})
        after[fact.name] = Known(version, ability, tuple(had))
        found.append(_told(fact, after[fact.name]))
    if after != before:
        known.write(after)
    return tuple(found)


def _told(fact: RuntimeFact, known: Known) -> RuntimeFact:
    ability = known.ability
    return replace(
        fact,
        accelerators=ability.accelerators,
        opset=ability.opset,
        ir_version=ability.ir_version,
        lost=tuple((each.accelerator, each.says) for each in known.lost()),
    )


def recall(known: Recollection) -> dict[str, Known]:
    """What is remembered, by runtime; nothing where the file is missing, older or damaged."""
    return known.read(decode)


def decode(fields: Mapping[str, Any]) -> Known:
    """Read what JSON says of one; raises what wrong fields raise: ValueError and its like."""
    ability, had = _ability(fields["ability"]), tuple(map(str, fields["had"]))
    return Known(str(fields["version"]), ability, had)


def _ability(found: Mapping[str, Any]) -> Ability:
    missing = tuple(
        Missing(str(name), str(says)[:_MESSAGE_CHARS], str(hint)[:_MESSAGE_CHARS])
        for name, says, hint in found.get("missing", ())
    )
    accelerators = tuple(map(str, found["accelerators"]))
    return Ability(accelerators, _number(found["opset"]), _number(found["ir_version"]), missing)


def _number(found: Any) -> int:
    """An opset or an IR version; raises ValueError, TypeError or OverflowError."""
    number = int(found)
    if not 0 <= number <= _HIGHEST:
        raise ValueError(f"an engine's versions of ONNX are from 0 to {_HIGHEST}")
    return number
