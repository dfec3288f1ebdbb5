"""Measures a device for its doctor: time, identity, disk, runtimes, processes, slots."""

from __future__ import annotations

import json
import os
import sqlite3
from contextlib import closing, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from sealane.errors import SealaneError, TrustError
from sealane.trust import anchor, highwater
from sealane.trust.authorities import parse_authorities
from sealane.trust.identity import BACKDATED

from sealane_agent.config import IdentityFiles
from sealane_agent.database import copied
from sealane_agent.diagnosis.findings import (
    ClockReading,
    DiskReading,
    RuntimeReading,
    failed,
    judge_certificate,
    judge_clock,
    judge_disk,
    judge_runtimes,
    judge_worker_limits,
    well,
)
from sealane_agent.errors import ENROL_ANEW, Refused
from sealane_agent.identity.lifetime import lifetime
from sealane_agent.identity.passport import Passport
from sealane_agent.line.client import ask
from sealane_agent.recollection import Recollection
from sealane_agent.runtimes.ability import EngineTrouble, ask_engine, recall
from sealane_agent.runtimes.drivers import cards
from sealane_agent.runtimes.inventory import installed_runtimes
from sealane_agent.store import RESERVE_BYTES

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from sealane.fleet import RuntimeFact

    from sealane_agent.diagnosis.findings import Finding
    from sealane_agent.identity.membership import Membership
    from sealane_agent.layout import StateFolder

_LATEST: Final = 1.0
"""A renewal is late when the latest moment for it is over."""


def health(folder: StateFolder) -> Mapping[str, Any] | None:
    """What only the supervisor knows; None when none answers."""
    try:
        return ask(folder.line_socket, {"health": True})
    except Refused:
        return {}  # one of an earlier version
    except SealaneError:
        return None


def clock(folder: StateFolder, told: Mapping[str, Any]) -> Finding:
    """The machine's clock, compared with what signed documents proved; `told` by `health`."""
    ahead = None
    with suppress(KeyError, TypeError, ValueError):
        ahead = timedelta(seconds=float(told["clock_ahead_s"]))
    return judge_clock(ClockReading(datetime.now(UTC), _floor(folder), ahead))


def certificates(folder: StateFolder) -> tuple[tuple[Finding, ...], Membership | None]:
    """What device and manager know each other by, and what may be shown to the manager."""
    files = IdentityFiles(folder.identity)
    try:
        passport = Passport(files, files.read())
        ends = max(each.not_valid_after_utc for each in parse_authorities(files.ca.read_bytes()))
    except (SealaneError, OSError) as error:
        hint = getattr(error, "hint", "") or f"move {files.folder} away, {ENROL_ANEW}"
        return (failed("certificates", str(error), hint),), None
    own = passport.certificate
    life = lifetime(own.not_valid_before_utc + BACKDATED, own.not_valid_after_utc, _LATEST)
    now = max(datetime.now(UTC), _floor(folder))
    return judge_certificate(life, now, ends), passport.membership


def trust(folder: StateFolder) -> tuple[Finding, ...]:
    """Whether the device still knows what it has seen; without that it accepts nothing new."""
    try:
        highwater.load(folder.trust / anchor.MARKS_FILE)
    except TrustError as error:
        return (failed("trust", str(error), error.hint),)
    return ()


def disk(folder: StateFolder) -> Finding:
    """The file system of the state folder."""
    found = os.statvfs(folder.root)
    counted = found.f_favail if found.f_files else -1
    free = found.f_bavail * found.f_frsize
    read_only = bool(found.f_flag & os.ST_RDONLY)
    return judge_disk(DiskReading(str(folder.root), free, RESERVE_BYTES, counted, read_only))


def journal(folder: StateFolder) -> Finding:
    """Whether the journal is whole; a device that has not run yet has none."""
    if not folder.journal.is_file():
        return well("journal", "there is none yet")
    try:
        said = _checked(folder.journal)
    except sqlite3.OperationalError:  # a disk that cannot be written keeps SQLite from looking
        with copied(folder.journal) as copy:
            said = _checked(copy)
    except sqlite3.Error as error:
        said = str(error)
    if said == "ok":
        return well("journal", "it is whole")
    hint = "move it away and start again: the slots' pointers keep the models serving"
    return failed("journal", f"it is damaged: {said}", hint)


def _checked(path: Path) -> str:
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
        return str(database.execute("PRAGMA quick_check(1)").fetchone()[0])


def runtimes(folder: StateFolder, needed: Mapping[str, str]) -> tuple[Finding, ...]:
    """Every runtime that is installed, each started once in a process of its own.

    `needed`: a runtime's name to the slot that needs it.
    """
    known, has = recall(Recollection(folder.engines)), cards()

    def read(fact: RuntimeFact) -> RuntimeReading:
        last = known.get(fact.name)
        return replace(
            _engine(fact),
            had=last.had if last else (),
            told=last.ability.accelerators if last else (),
            cards={what: card for (name, what), card in has.items() if name == fact.name},
        )

    return judge_runtimes(map(read, installed_runtimes()), needed)


def worker_limits(folder: StateFolder) -> tuple[Finding, ...]:
    """Whether the endpoint that runs could give each worker limits of its own."""
    try:
        said = json.loads(folder.endpoint_addresses.read_bytes())
        return (judge_worker_limits(str(said["unlimited"])),)
    except (OSError, ValueError, KeyError, TypeError):
        return ()  # none runs, which is said elsewhere, or one of an earlier version


def _engine(fact: RuntimeFact) -> RuntimeReading:
    try:
        ability = ask_engine(fact.name)
    except EngineTrouble as error:
        return RuntimeReading(fact.name, fact.version, trouble=str(error))
    missing = tuple((each.accelerator, each.says, each.hint) for each in ability.missing)
    return RuntimeReading(fact.name, fact.version, ability.accelerators, missing=missing)


def _floor(folder: StateFolder) -> datetime:
    return datetime.fromtimestamp(anchor.known_floor(folder.trust), UTC)
