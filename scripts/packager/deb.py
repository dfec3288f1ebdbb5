"""Closes a package into a .deb file."""

from __future__ import annotations

import gzip
import hashlib
import os
import shutil
import subprocess
from email.utils import formatdate
from typing import TYPE_CHECKING, Final

from packager.scripts import filled
from packager.stage import Stage, date, files, lay_out, program

if TYPE_CHECKING:
    from pathlib import Path

    from packager.site import Sources
    from packager.stage import Build

_SCRIPTS: Final = ("preinst", "postinst", "prerm", "postrm")
_MAINTAINER: Final = "Sealane maintainers <maintainers@sealane.invalid>"


def make_deb(build: Build, sources: Sources, work: Path, out: Path) -> Path:
    """Make the .deb file; raises what `lay_out` raises."""
    stage = lay_out(build, sources, work)
    _place_changelog(stage)
    _place_control(stage, sources.root)
    date(stage.folder, build.epoch)
    out.mkdir(parents=True, exist_ok=True)
    made = out / f"{build.package.name}_{build.version}_{build.target.arch}.deb"
    subprocess.run(
        ["dpkg-deb", "-Zzstd", "--root-owner-group", "--build", str(stage.folder), str(made)],  # noqa: S607 - as the system finds it
        env=os.environ | {"SOURCE_DATE_EPOCH": str(build.epoch)},
        stdout=subprocess.DEVNULL,
        check=True,
    )
    shutil.rmtree(stage.folder)
    return made


def _place_changelog(stage: Stage) -> None:
    name, build = stage.build.package.name, stage.build
    entry = f"{name} ({build.version}) stable; urgency=medium\n\n"
    entry += f"  * See CHANGELOG.md of Sealane.\n\n -- {_MAINTAINER}  {formatdate(build.epoch)}\n"
    changelog = stage.folder / "usr/share/doc" / name / "changelog.Debian.gz"
    changelog.write_bytes(gzip.compress(entry.encode(), 9, mtime=0))


def _place_control(stage: Stage, root: Path) -> None:
    control = stage.folder / "DEBIAN"
    control.mkdir(mode=0o755)
    for name in _SCRIPTS:
        source = root / "packaging" / "deb" / stage.build.package.name / name
        if source.is_file():
            program(control / name, filled(source, stage))
    if configuration := stage.configuration():
        (control / "conffiles").write_text("".join(f"{name}\n" for name in configuration))
    sums = (
        f"{hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()}  "
        f"{path.relative_to(stage.folder)}\n"
        for path in files(stage.folder)
        if control not in path.parents
    )
    (control / "md5sums").write_text("".join(sums))
    (control / "control").write_text(_control(stage.build, stage.installed_kib()))


def _control(build: Build, size_kib: int) -> str:
    package, target = build.package, build.target
    depends = [f"python3 (>= {target.python}~)", f"python3 (<< {target.next_python})"]
    depends += ["libstdc++6", *package.depends]
    lines = (
        f"Package: {package.name}",
        f"Version: {build.version}",
        f"Architecture: {target.arch}",
        f"Maintainer: {_MAINTAINER}",
        f"Installed-Size: {size_kib}",
        f"Depends: {', '.join(depends)}",
        "Section: net",
        "Priority: optional",
        f"Description: {package.summary}",
        *(f" {line}" for line in package.description),
    )
    return "".join(f"{line}\n" for line in lines)
