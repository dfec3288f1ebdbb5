"""The repository as its own tests see it: source files, documents and the commands in them."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

ROOT = Path(__file__).resolve().parents[2]
DISTRIBUTIONS = ("core", "agent", "manager")
CODE_FOLDERS = (*DISTRIBUTIONS, "scripts", "tests")
_GENERATED = re.compile(r"_pb2(_grpc)?\.py$")
_NOT_OURS = {"node_modules", "build", "dist"}
"""Folders that tools fill."""
_SHELL_BLOCK = re.compile(r"```sh\n(.*?)```", re.DOTALL)


def sources(*folders: str) -> tuple[Path, ...]:
    """Every hand-written Python file below these folders."""
    found = (path for folder in folders for path in (ROOT / folder).rglob("*.py"))
    return tuple(
        sorted(
            path
            for path in found
            if not _GENERATED.search(path.name)
            and not _NOT_OURS.intersection(path.relative_to(ROOT).parts)
        )
    )


def scripts() -> tuple[Path, ...]:
    """Every script that is run by its name."""
    files = (path for path in (ROOT / "scripts").iterdir() if path.is_file() and not path.suffix)
    return (*sorted(files), ROOT / ".ci" / "run", ROOT / ".ci" / "extended")


def documents() -> tuple[Path, ...]:
    """Every document."""
    return (*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md")))


def shell_lines(document: Path) -> Iterator[str]:
    """The commands in a document's shell blocks, without their comments."""
    for block in _SHELL_BLOCK.findall(document.read_text()):
        for line in block.splitlines():
            command = line.partition("  #")[0].strip()
            if command and not command.startswith("#"):
                yield command


def project(distribution: str) -> dict[str, Any]:
    """The [project] table of a distribution."""
    content = (ROOT / distribution / "pyproject.toml").read_text()
    table: dict[str, Any] = tomllib.loads(content)["project"]
    return table


def relative(path: Path) -> str:
    """A path as people write it."""
    return path.relative_to(ROOT).as_posix()
