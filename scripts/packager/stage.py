"""Lays a package out as it will lie on the machine."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from packager import base
from packager.site import fingerprint

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from packager.site import Sources
    from packager.targets import Package, Target

_KIB: Final = 1024


@dataclass(frozen=True, slots=True)
class Build:
    """One build of one package.

    Attributes:
        version: with the revision, and for Debian with the suite.
        epoch: seconds since 1970 that every file gets as its time.
    """

    package: Package
    target: Target
    version: str
    epoch: int


@dataclass(frozen=True, slots=True)
class Stage:
    """A package's files, laid out below a folder.

    Attributes:
        home: the folder of its python files, below `folder`.
    """

    build: Build
    folder: Path
    home: Path

    @property
    def final_home(self) -> str:
        """Where the python files will lie on the machine."""
        return f"/{self.home.relative_to(self.folder)}"

    def configuration(self) -> list[str]:
        """Files that an operator may change, by their paths on the machine."""
        return [f"/{path.relative_to(self.folder)}" for path in files(self.folder / "etc")]

    def installed_kib(self) -> int:
        """By the files' sizes alone: how much a disk block takes differs between machines."""
        return sum(-(-path.stat().st_size // _KIB) for path in files(self.folder))


def lay_out(build: Build, sources: Sources, work: Path) -> Stage:
    """Fill a new folder; raises CalledProcessError, NotLocked, NoArchive, NotHeld or OSError."""
    stage = work / f"stage-{build.package.name}"
    shutil.rmtree(stage, ignore_errors=True)
    home = _place_python(build, sources, stage)
    for source, place in build.package.files.items():
        copy(sources.root / "packaging" / source, stage / place)
    copyright_ = stage / "usr/share/doc" / build.package.name / "copyright"
    copy(sources.root / "packaging" / "copyright", copyright_)
    return Stage(build, stage, home)


def _place_python(build: Build, sources: Sources, stage: Path) -> Path:
    """The python files in their place; returns the folder that holds them."""
    package, target = build.package, build.target
    top = stage / package.home
    if package.command is None:
        sources.fill(top, package, target)
        return top
    home = top / build.version if package.side_by_side else top
    sources.fill(home / "lib" / f"python{target.python}" / "site-packages", package, target)
    if target.own_python:
        base.place(home, f"python{target.python}", sources.archive(target.arch))
    if package.side_by_side:
        home = home.rename(f"{home}.{fingerprint(home)}")
    final = f"/{home.relative_to(stage)}"
    if target.own_python:
        base.settle(home, final)
    bin_ = f"{final}/base/bin" if target.own_python else "/usr/bin"
    (home / "pyvenv.cfg").write_text(
        f"home = {bin_}\ninclude-system-site-packages = false\nversion = {target.python}\n"
    )
    _place_programs(build, package.command, stage, home)
    return home


def _place_programs(build: Build, command: tuple[str, str], stage: Path, home: Path) -> None:
    name, module = command
    current = "current/" if build.package.side_by_side else ""
    programs = home / "bin"
    programs.mkdir()
    own = build.target.own_python
    python = "../base/bin" if own else "/usr/bin"
    (programs / "python3").symlink_to(f"{python}/python{build.target.python}")
    here = f"/{programs.relative_to(stage)}"
    program(
        programs / name,
        f"#!{here}/python3 -I\nimport sys\nfrom {module} import main\n\nsys.exit(main())\n",
    )
    launcher = f"""\
#!/bin/sh
# By its real path, so that a process keeps the files that it began with.
exec "$(readlink -f /{build.package.home}/{current}bin/{name})" "$@"
"""
    program(stage / "usr" / "bin" / name, launcher)


def program(path: Path, text: str) -> None:
    """Write a file that can be run."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)


def copy(source: Path, target: Path) -> None:
    """Copy a file that cannot be run."""
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
    target.chmod(0o644)


def files(folder: Path) -> Iterator[Path]:
    """Every file below a folder, in order; no links."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.is_symlink():
            yield path


def date(folder: Path, epoch: int) -> None:
    """Give everything one time and plain permissions."""
    for path in (folder, *folder.rglob("*")):
        if path.is_dir() and not path.is_symlink():
            path.chmod(0o755)
        elif not path.is_symlink():
            path.chmod(0o755 if path.stat().st_mode & 0o100 else 0o644)
        os.utime(path, (epoch, epoch), follow_symlinks=False)
