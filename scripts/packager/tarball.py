"""Closes a package into a .tar.gz with a script that installs it, for machines without dpkg."""

from __future__ import annotations

import gzip
import shutil
from typing import TYPE_CHECKING, Final

from packager.archive import write_tar
from packager.scripts import filled
from packager.stage import Stage, copy, date, lay_out, program

if TYPE_CHECKING:
    from pathlib import Path

    from packager.site import Sources
    from packager.stage import Build

_LEVEL: Final = 6


def make_tarball(build: Build, sources: Sources, work: Path, out: Path) -> Path:
    """Make the .tar.gz file; raises what `lay_out` raises."""
    made = tarball_of(build, sources, work)
    out.mkdir(parents=True, exist_ok=True)
    return shutil.copyfile(made, out / made.name)


def tarball_of(build: Build, sources: Sources, work: Path) -> Path:
    """The file in the work folder, made once; raises what `lay_out` raises."""
    name = top_of(build)
    top, made = work / name, work / f"{name}.tar.gz"
    if made.exists():
        return made
    top.mkdir()
    stage = lay_out(build, sources, work)
    _place_scripts(stage, sources.root, top)
    stage.folder.rename(top / "root")
    date(top, build.epoch)
    _close(top, made, build.epoch)
    shutil.rmtree(top)
    return made


def top_of(build: Build) -> str:
    """The folder that the tarball unpacks into."""
    return f"{build.package.name}-{build.version}-{build.target.suite}-{build.target.arch}"


def _place_scripts(stage: Stage, root: Path, top: Path) -> None:
    other = root / "packaging" / "other"
    program(top / "install", filled(other / "install", stage))
    program(top / "uninstall", filled(other / "uninstall", stage))
    (top / "hooks.sh").write_text(filled(other / f"{stage.build.package.name}.sh", stage))
    copy(root / "LICENSE", top / "LICENSE")
    configuration = {name[1:] for name in stage.configuration()}
    names = {
        str(path.relative_to(stage.folder))
        for path in stage.folder.rglob("*")
        if path.is_symlink() or not path.is_dir()
    }
    for file, held in (("files", names - configuration), ("configuration", configuration)):
        (top / file).write_text("".join(f"{name}\n" for name in sorted(held)))


def _close(top: Path, made: Path, epoch: int) -> None:
    with made.open("wb") as raw, gzip.GzipFile("", "wb", _LEVEL, raw, mtime=epoch) as packed:
        write_tar(packed, top, f"{top.name}/")
