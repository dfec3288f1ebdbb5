"""A box: this machine's own Debian in an overlay, with a systemd and a network of its own."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

T = TypeVar("T")

BOOT: Final = Path(__file__).with_name("boot.sh")
PATIENCE_S: Final = 60.0
PATH: Final = "/usr/sbin:/usr/bin:/sbin:/bin"
UP: Final = ("running", "degraded")


class BoxError(Exception):
    """A box did not do what it was told; says what it said."""


def eventually(what: str, look: Callable[[], T | None], patience_s: float = PATIENCE_S) -> T:
    """Look until there is something; raises BoxError when patience ends."""
    deadline = time.monotonic() + patience_s
    while (found := look()) is None:
        if time.monotonic() > deadline:
            raise BoxError(f"{what}: not within {patience_s:.0f} s")
        time.sleep(0.05)
    return found


def command(*arguments: str) -> None:
    """Run something on the machine itself; raises CalledProcessError."""
    subprocess.run(arguments, check=True, stdout=subprocess.DEVNULL)


class Box:
    """One booted machine.

    Attributes:
        address: its IPv4 address.
    """

    def __init__(self, name: str, folder: Path, address: str) -> None:
        self.name, self.address = name, address
        self._folder = folder
        self._nspawn: subprocess.Popen[bytes] | None = None
        self._leader = 0

    @property
    def root(self) -> Path:
        """Its file system, as this machine sees it."""
        return self._folder / "root"

    def build(self) -> None:
        """Lay an empty overlay over this machine's own file system."""
        self._folder.mkdir()
        command("mount", "-t", "tmpfs", "-o", "size=3g", "tmpfs", str(self._folder))
        upper, work = self._folder / "upper", self._folder / "work"
        for folder in (self.root, upper, work):
            folder.mkdir()
        layers = f"lowerdir=/,upperdir={upper},workdir={work}"
        command("mount", "-t", "overlay", "overlay", "-o", layers, str(self.root))
        for wants in (self.root / "etc/systemd/system").glob("*.wants"):
            shutil.rmtree(wants)
        # Container images carry this to keep packages from starting services.
        (self.root / "usr/sbin/policy-rc.d").unlink(missing_ok=True)
        (self.root / "etc/hostname").write_text(f"{self.name}\n")
        machine_id = self.root / "etc/machine-id"
        machine_id.unlink(missing_ok=True)
        machine_id.touch()

    def start(self, *, unified: bool = False) -> None:
        """Boot, if so with the new control groups alone; returns before it is up."""
        with (self._folder / "console.log").open("ab") as log:
            self._nspawn = subprocess.Popen(
                [str(BOOT), str(self.root), self.name, self.name, *(["unified"] * unified)],
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )

    def wait_up(self) -> None:
        """Until its systemd has started everything; raises BoxError."""
        self._leader = eventually(f"{self.name} begins to boot", self._find_leader)
        eventually(f"{self.name} is up", self._up)

    def _find_leader(self) -> int | None:
        assert self._nspawn is not None
        if self._nspawn.poll() is not None:
            raise BoxError((self._folder / "console.log").read_text(errors="replace")[-2000:])
        for child in children(self._nspawn.pid):
            if Path(f"/proc/{child}/comm").read_text().strip() == "systemd":
                return child
        return None

    def _up(self) -> bool | None:
        return self.try_run("systemctl", "is-system-running").stdout.strip() in UP or None

    def try_run(
        self, *arguments: str, given: str = "", variables: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a command inside as root, whatever its status."""
        return subprocess.run(
            ["nsenter", "--target", str(self._leader), "--all", "--wdns=/", "--", *arguments],  # noqa: S607 - as the system finds it
            env={"PATH": PATH, "LANG": "C.UTF-8", **(variables or {})},
            input=given,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )

    def run(
        self, *arguments: str, given: str = "", variables: Mapping[str, str] | None = None
    ) -> str:
        """Run a command inside as root; raises BoxError with what it said when it fails."""
        done = self.try_run(*arguments, given=given, variables=variables)
        if done.returncode:
            said = f"{done.stdout}{done.stderr}".strip()[-2000:]
            if arguments[0] == "systemctl":  # which says to look there
                said += self.try_run("journalctl", "--no-pager", "--lines=40").stdout
            raise BoxError(f"{self.name}: {' '.join(arguments)} ended {done.returncode}:\n{said}")
        return done.stdout

    def property_of(self, unit: str, name: str) -> str:
        """One property of a unit, as systemd says it."""
        return self.run("systemctl", "show", unit, "--property", name, "--value").strip()

    def main_pid(self, unit: str) -> int:
        """A unit's main process by the box's numbers; 0 when it does not run."""
        return int(self.property_of(unit, "MainPID"))

    def host_pid(self, pid: int) -> int:
        """This machine's number of a process inside; raises BoxError when it is gone."""
        for candidate in _processes_below(self._leader):
            with suppress(OSError):
                status = Path(f"/proc/{candidate}/status").read_text()
                numbers = next(row for row in status.splitlines() if row.startswith("NSpid:"))
                if int(numbers.split()[-1]) == pid:
                    return candidate
        raise BoxError(f"{self.name}: there is no process {pid}")

    def journal(self, unit: str, lines: int = 20) -> str:
        """The end of a unit's log."""
        return self.try_run("journalctl", "--no-pager", "-u", unit, "-n", str(lines)).stdout

    def write(self, path: str, content: str, mode: int = 0o644) -> None:
        """Write a file inside."""
        target = self.root / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(content)
        target.chmod(mode)

    def copy(self, source: Path, folder: str) -> str:
        """Copy a file into a folder inside; returns its path there."""
        target = self.root / folder.lstrip("/") / source.name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
        return f"{folder}/{source.name}"

    def written(self, pattern: str) -> list[Path]:
        """What lies in it and not in the file system below, with names of that pattern."""
        upper = self._folder / "upper"
        found = (self.root / path.relative_to(upper) for path in upper.rglob(pattern))
        return [path for path in found if path.exists() or path.is_symlink()]

    def stop(self) -> None:
        """Shut down in order."""
        if self._nspawn is None:
            return
        self.try_run("systemctl", "poweroff")
        try:
            self._nspawn.wait(timeout=60)
        except subprocess.TimeoutExpired:
            self.cut_power()
        self._nspawn = None

    def cut_power(self) -> None:
        """End everything inside at once."""
        if self._nspawn is None:
            return
        with suppress(ProcessLookupError):
            os.kill(self._leader, signal.SIGKILL)
        with suppress(subprocess.TimeoutExpired):
            self._nspawn.wait(timeout=10)
        if self._nspawn.poll() is None:
            self._nspawn.kill()
            self._nspawn.wait()
        self._nspawn = None

    def remove(self) -> None:
        """Undo `build`; whatever still runs is ended."""
        self.cut_power()
        for path in (self.root, self._folder):
            if os.path.ismount(path):
                command("umount", "--lazy", str(path))
        if self._folder.is_dir():
            self._folder.rmdir()
        with suppress(BoxError):  # what is left is empty, and belongs to nobody
            eventually(f"{self.name} is gone", lambda: _remove_groups(self.name) or None, 5)


def children(pid: int) -> list[int]:
    """Processes that a process started and that still run."""
    with suppress(OSError):
        return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def _processes_below(pid: int) -> list[int]:
    found = [pid]
    for each in found:
        found += children(each)
    return found


def _remove_groups(name: str) -> bool:
    """Whether its control groups are gone; the last process may take a moment to leave."""
    groups = [Path("/sys/fs/cgroup", top, name) for top in ("", "systemd", "unified")]
    for group in groups:
        for folder, _folders, _files in os.walk(group, topdown=False):
            with suppress(OSError):
                Path(folder).rmdir()
    return not any(group.exists() for group in groups)
