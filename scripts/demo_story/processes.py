"""The processes of the demonstration: one manager, some agents, the traffic; all on loopback."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

BIN = Path(sys.executable).parent
PATIENCE_S = 120.0
SUCCEEDED, OTHERWISE_ENDED = 0, 3
"""How `sealane rollout watch` ends."""
T = TypeVar("T")


class DemoError(Exception):
    """Something did not come up; its log says why."""


def wait_for(what: str, look: Callable[[], T | None], patience_s: float = PATIENCE_S) -> T:
    """Look until there is something; raises DemoError when patience ends."""
    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline:
        if (found := look()) is not None:
            return found
        time.sleep(0.1)
    raise DemoError(f"{what} did not come up within {patience_s:.0f} s")


def read_json(path: Path) -> dict[str, str] | None:
    """A JSON object, or None while the file is not there."""
    return json.loads(path.read_text()) if path.is_file() else None


class Processes:
    """Starts, finds and stops what the story needs; logs go to one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._started: list[tuple[str, subprocess.Popen[bytes]]] = []
        (folder / "logs").mkdir()

    @property
    def environment(self) -> dict[str, str]:
        """The environment of every process: where the operator's context and this package lie."""
        return os.environ | {
            "SEALANE_CONTEXT": str(self.folder / "manager" / "operator"),
            "PYTHONPATH": str(Path(__file__).parent.parent),
        }

    def sealane(self, *arguments: str, typed: str = "") -> str:
        """Run the operator's command line; raises DemoError with what it said when it fails."""
        return self._command("sealane", *arguments, typed=typed)

    def agent(self, *arguments: str) -> str:
        """Run the device's command line; raises DemoError with what it said when it fails."""
        return self._command("sealane-agent", *arguments)

    def _command(self, program: str, *arguments: str, typed: str = "") -> str:
        done = self.run(program, *arguments, typed=typed)
        if done.returncode:
            said = done.stderr.strip()
            raise DemoError(f"{program} {' '.join(arguments[:2])} ended {done.returncode}: {said}")
        return done.stdout

    def run(
        self, program: str, *arguments: str, typed: str = "", patience_s: float | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a command line to its end, whatever that is; raises TimeoutExpired."""
        return subprocess.run(
            [BIN / program, *arguments],
            env=self.environment,
            capture_output=True,
            input=typed,
            text=True,
            timeout=patience_s,
            check=False,
        )

    def watch(self, rollout: str, patience_s: float) -> None:
        """`sealane rollout watch` until the rollout has ended; raises DemoError after patience."""
        try:
            done = self.run("sealane", "rollout", "watch", rollout, patience_s=patience_s)
        except subprocess.TimeoutExpired as error:
            raise DemoError(f"rollout {rollout} did not end in {patience_s:.0f} s") from error
        if done.returncode not in (SUCCEEDED, OTHERWISE_ENDED):
            raise DemoError(f"rollout watch ended {done.returncode}: {done.stderr}")

    def lines(self, *arguments: str) -> Iterator[str]:
        """Run the operator's command line and yield what it prints, as it prints it."""
        with subprocess.Popen(
            [BIN / "sealane", *arguments], env=self.environment, stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None  # noqa: S101 - asked for above
            yield from (line.rstrip() for line in process.stdout)

    def start(self, name: str, *command: str, **settings: str) -> subprocess.Popen[bytes]:
        """Start something that stays; settings go into its environment."""
        with (self.folder / "logs" / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                command,
                env=self.environment | settings,
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
            )
        self._started.append((name, process))
        return process

    def wait_for(self, name: str, look: Callable[[], T | None]) -> T:
        """Look until there is something; raises DemoError when that process ended instead."""
        process = next(process for other, process in reversed(self._started) if other == name)

        def look_at_living() -> T | None:
            if process.poll() is not None:
                raise DemoError(f"{name} ended {process.returncode}:\n{self.log_tail(name)}")
            return look()

        return wait_for(name, look_at_living)

    def log_tail(self, name: str, lines: int = 15) -> str:
        """The end of one process's log."""
        text = (self.folder / "logs" / f"{name}.log").read_text(errors="replace")
        return "\n".join(text.splitlines()[-lines:])

    def stop(self) -> None:
        """Stop everything, the last started first."""
        for _name, process in reversed(self._started):
            process.terminate()
        for name, process in reversed(self._started):
            try:
                process.wait(timeout=15)
            except subprocess.TimeoutExpired:
                print(f"{name} did not stop when asked and was killed")
                process.kill()
        self._started.clear()
