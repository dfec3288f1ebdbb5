"""Fetches packages of a Debian release and unpacks them, without running anything of theirs.

They come from where this machine's own packages come from, for any release and architecture, and
apt checks them against Debian's keys.
"""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

_KEYS: Final = "/usr/share/keyrings/debian-archive-keyring.gpg"
RELEASES: Final = {"deb12": "bookworm", "deb13": "trixie"}
"""Debian's names of the releases."""


class NoArchive(Exception):  # noqa: N818 - the word says what is wrong
    """This machine does not know where Debian's packages come from."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """One package that lies here.

    Attributes:
        control: what it says of itself, as Debian writes it.
    """

    file: Path
    control: str

    def field(self, name: str) -> str:
        """One field of its control file; raises KeyError."""
        for line in self.control.splitlines():
            if line.startswith(f"{name}: "):
                return line.partition(": ")[2]
        raise KeyError(name)

    def unpack(self, folder: Path) -> None:
        """Lay its files out; none of its scripts runs."""
        _said("dpkg-deb", "--extract", str(self.file), str(folder))


class Archive:
    """One release for one architecture, as its servers have it now."""

    def __init__(self, suite: str, arch: str, work: Path) -> None:
        self._release, self._arch = RELEASES[suite], arch
        self._folder = work / f"apt-{suite}-{arch}"
        self._fetched = 0

    def fetch(self, *names: str) -> tuple[Fetched, ...]:
        """The packages with all that they depend on; raises NoArchive or CalledProcessError."""
        if not self._fetched:
            self._begin()
        self._fetched += 1
        archives = self._folder / f"archives-{self._fetched}"
        (archives / "partial").mkdir(parents=True)
        place = f"Dir::Cache::archives={archives}"
        self._apt("install", "--download-only", "--yes", "-o", place, *names)
        return tuple(
            Fetched(file, _said("dpkg-deb", "--field", str(file)))
            for file in sorted(archives.glob("*.deb"))
        )

    def _begin(self) -> None:
        (self._folder / "lists" / "partial").mkdir(parents=True)
        (self._folder / "status").touch()
        sources = "".join(
            f"deb [signed-by={_KEYS}] {address} {suite} main\n"
            for address, suite in _repositories(self._release)
        )
        (self._folder / "sources.list").write_text(sources)
        self._apt("update")

    def _apt(self, *arguments: str) -> None:
        folder = self._folder
        settings = (
            f"Dir::Etc::sourcelist={folder}/sources.list",
            "Dir::Etc::sourceparts=/dev/null",
            f"Dir::State={folder}",
            f"Dir::State::lists={folder}/lists",
            f"Dir::State::status={folder}/status",
            f"Dir::Cache={folder}",
            f"APT::Architecture={self._arch}",
            f"APT::Architectures={self._arch}",
            "APT::Install-Recommends=0",
            f"APT::Sandbox::User={os.environ.get('USER', 'root')}",
            "Acquire::Languages=none",
            "Debug::NoLocking=1",
        )
        _said("apt-get", "--quiet=2", *(f"-o{each}" for each in settings), *arguments)


def _repositories(release: str) -> Iterator[tuple[str, str]]:
    """Addresses and suites of Debian's repositories, from this machine's own of any release."""
    own = _own_release()
    form = "--format=$(REPO_URI) $(RELEASE)"
    rows = _said("apt-get", "indextargets", form, "Created-By: Packages").splitlines()
    found = sorted({tuple(row.split()) for row in rows if row.split()[1].startswith(own)})
    if not own or not found:
        raise NoArchive("packages are built on Debian: this machine's apt lists no archive of it")
    for address, suite in found:
        yield address, suite.replace(own, release, 1)


def _own_release() -> str:
    for line in Path("/etc/os-release").read_text().splitlines():
        if line.startswith("VERSION_CODENAME="):
            return line.partition("=")[2]
    return ""


def _said(*command: str) -> str:
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
