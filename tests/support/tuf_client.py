"""A TUF client under test: the adapter as processes, its folders, and what it trusts there."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from support.tuf_repository import Repository

ADAPTER: Final = Path(__file__).parents[1] / "conformance" / "tuf_client.py"
_PATIENCE_S: Final = 120


class Launcher(Protocol):
    """Runs the client's command line in a process, and returns how it ended."""

    def __call__(self, arguments: Sequence[str], at: datetime | None = None) -> int:
        """`at`: what the machine's clock shall say."""
        ...


def executing(command: Sequence[str]) -> Launcher:
    """Start a new process each time, as the public suite does."""

    def launch(arguments: Sequence[str], at: datetime | None = None) -> int:
        clock = ["faketime", str(at)] if at else []
        done = subprocess.run([*clock, *command, *arguments], timeout=_PATIENCE_S, check=False)
        return done.returncode

    return launch


@contextmanager
def forking() -> Iterator[Launcher]:
    """A process each time too, forked from one that has imported everything."""
    command = [sys.executable, str(Path(__file__).parent / "tuf_zygote.py")]
    exactly = executing([sys.executable, str(ADAPTER)])
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    ) as zygote:

        def launch(arguments: Sequence[str], at: datetime | None = None) -> int:
            if at is not None:
                return exactly(arguments, at)
            assert zygote.stdin is not None
            assert zygote.stdout is not None
            zygote.stdin.write(json.dumps(list(arguments)) + "\n")
            return int(zygote.stdout.readline())

        yield launch
        assert zygote.stdin is not None
        zygote.stdin.close()


@contextmanager
def launcher() -> Iterator[Launcher]:
    """Of our own adapter, or of the command that the environment names."""
    named = os.environ.get("SEALANE_TUF_CLIENT")
    if named:
        yield executing(shlex.split(named))
        return
    with forking() as launch:
        yield launch


@dataclass(frozen=True)
class Client:
    """A client, and the repository that it looks at.

    `refresh` and `download` return whether it succeeded; a client that crashes fails the test.
    """

    launch: Launcher
    folder: Path
    address: str
    repository: Repository

    @property
    def metadata(self) -> Path:
        return self.folder / "metadata"

    def init(self, root: bytes | None = None) -> bool:
        """Begin with a root; the repository's first one when none is given."""
        for folder in (self.metadata, self.folder / "targets"):
            folder.mkdir()
        path = self.folder / "trusted.json"
        path.write_bytes(self.repository.published["root"][1] if root is None else root)
        return self._run(["--metadata-dir", str(self.metadata), "init", str(path)])

    def refresh(self, at: datetime | None = None) -> bool:
        """Bring the top-level metadata up to date."""
        return self._run([*self._known(), "refresh"], at)

    def download(self, path: str, at: datetime | None = None) -> bool:
        """Refresh, find a target and fetch it."""
        options = {
            "--target-name": path,
            "--target-dir": str(self.folder / "targets"),
            "--target-base-url": f"{self.address}/targets/",
        }
        given = [item for pair in options.items() for item in pair]
        return self._run([*self._known(), *given, "download"], at)

    def downloaded(self) -> list[bytes]:
        """The contents of every file that it fetched, by age."""
        files = [path for path in (self.folder / "targets").rglob("*") if path.is_file()]
        return [
            path.read_bytes() for path in sorted(files, key=lambda path: path.stat().st_mtime_ns)
        ]

    def trusted(self) -> dict[str, int]:
        """The version of each role that it trusts, by the name of the role's file."""
        return {path.stem: _version(path) for path in self.metadata.glob("*.json")}

    def content(self, role: str) -> bytes:
        """The bytes of a role that it trusts."""
        return (self.metadata / f"{role}.json").read_bytes()

    def _known(self) -> list[str]:
        folder, url = str(self.metadata), f"{self.address}/metadata/"
        return ["--metadata-dir", folder, "--metadata-url", url]

    def _run(self, arguments: Sequence[str], at: datetime | None = None) -> bool:
        code = self.launch(arguments, at)
        assert code in (0, 1), f"the client crashed with {code}"
        return code == 0


def _version(path: Path) -> int:
    version = json.loads(path.read_bytes())["signed"]["version"]
    assert isinstance(version, int)
    return version
