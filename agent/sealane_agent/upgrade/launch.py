"""Starts the version of the agent that shall run, in the place of this process.

The launcher belongs to the installed package and is never part of what it starts. A version on
trial is started under an alarm of the kernel's: unless it proves itself and takes the alarm away,
it is ended, however it hangs.
"""

from __future__ import annotations

import fcntl
import os
import signal
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from sealane_agent.facts import boot_id
from sealane_agent.layout import ACTIVE, LKG
from sealane_agent.upgrade.folder import AGENT, ENDPOINT, UpgradeFolder
from sealane_agent.upgrade.interpreter import interpreter, place_interpreter
from sealane_agent.upgrade.launched import VARIABLE, Launched
from sealane_agent.upgrade.starts import PACKAGE, TRIAL_STARTS, choose, choose_endpoint

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sealane_agent.layout import StateFolder
    from sealane_agent.upgrade.starts import Launch, Starts

_MODULE: Final = ("-m", "sealane_agent.cli.main")


def launch(state: StateFolder, role: str, arguments: Sequence[str], deadline_s: int) -> None:
    """Become the version that shall run; returns when that is this one.

    `arguments` are the command line's, without the program. A version on trial has `deadline_s`
    seconds to prove itself.
    """
    if VARIABLE in os.environ or (role == AGENT and _is_held(state)):
        return
    folder = UpgradeFolder(state)
    decide = {AGENT: choose, ENDPOINT: choose_endpoint}[role]
    while True:
        found = decide(folder.pointers(), folder.starts(role), boot_id())
        remember(folder, role, found)
        if found.run == PACKAGE:
            os.environ[VARIABLE] = Launched(PACKAGE.manifest, _launcher(arguments)).encode()
            return
        _become(folder, found, arguments, deadline_s)
        _fail(folder, role, found.starts)


def relaunch(launched: Launched, environment: Mapping[str, str]) -> None:
    """Give this process's place to the launcher; raises OSError."""
    kept = {name: value for name, value in environment.items() if name != VARIABLE}
    os.execve(launched.launcher[0], launched.launcher, kept)  # noqa: S606 - this very program


def _is_held(state: StateFolder) -> bool:
    """Whether another agent runs on the folder: then nothing is started, and nothing counted."""
    if not state.lock.exists():
        return False
    with state.lock.open("r+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def remember(folder: UpgradeFolder, role: str, found: Launch) -> None:
    """Durably, before anything is started: a crash is counted however early it comes."""
    if found.given_up is not None:
        folder.write_given_up(found.given_up)
    if found.put_back is not None:
        folder.point(LKG, found.put_back)
        folder.point(ACTIVE, found.put_back)
    folder.write_starts(role, found.starts)


def _become(
    folder: UpgradeFolder, found: Launch, arguments: Sequence[str], deadline_s: int
) -> None:
    tree = folder.version(found.run.manifest)
    program = str(interpreter(tree))
    launched = Launched(found.run.manifest, _launcher(arguments))
    environment = os.environ | {VARIABLE: launched.encode()}
    try:
        place_interpreter(tree)
        signal.alarm(deadline_s if found.trial else 0)
        os.execve(program, [program, "-I", *_MODULE, *arguments], environment)  # noqa: S606 - a version that was verified
    except OSError as error:
        signal.alarm(0)
        sys.stderr.write(f"{found.run.release} cannot be started: {error}\n")


def _fail(folder: UpgradeFolder, role: str, starts: Starts) -> None:
    """A version that is not even there needs no second start."""
    folder.write_starts(role, replace(starts, count=starts.count + TRIAL_STARTS, clean=False))


def _launcher(arguments: Sequence[str]) -> tuple[str, ...]:
    isolated = ("-I",) if sys.flags.isolated else ()
    return (sys.executable, *isolated, *_MODULE, *arguments)
