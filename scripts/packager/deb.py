"""Lays a package out as it will lie on the machine, and closes it into a .deb file."""

from __future__ import annotations

import gzip
import hashlib
import os
import shutil
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from packager.site import fingerprint

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from packager.site import Sources
    from packager.targets import Package, Target

_SCRIPTS: Final = ("preinst", "postinst", "prerm", "postrm")
_MAINTAINER: Final = "Sealane maintainers <maintainers@sealane.invalid>"
_KIB: Final = 1024


@dataclass(frozen=True, slots=True)
class Build:
    """One build of one package.

    Attributes:
        version: Debian's version, with the revision and the suite.
        epoch: seconds since 1970 that every file gets as its time.
    """

    package: Package
    target: Target
    version: str
    epoch: int

    @property
    def file(self) -> str:
        """Name of the .deb file."""
        return f"{self.package.name}_{self.version}_{self.target.arch}.deb"


def build(build: Build, sources: Sources, work: Path, out: Path) -> Path:
    """Make the .deb file; raises CalledProcessError, NotLocked or OSError."""
    stage = work / f"stage-{build.package.name}"
    shutil.rmtree(stage, ignore_errors=True)
    home = _place_python(build, sources, stage)
    for source, place in build.package.files.items():
        _copy(sources.root / "packaging" / source, stage / place)
    _place_documents(build, sources.root, stage)
    _place_control(build, sources.root, stage, {"@HOME@": f"/{home.relative_to(stage)}"})
    _date(stage, build.epoch)
    out.mkdir(parents=True, exist_ok=True)
    subprocess.run(
        ["dpkg-deb", "-Zzstd", "--root-owner-group", "--build", str(stage), str(out / build.file)],  # noqa: S607 - as the system finds it
        env=os.environ | {"SOURCE_DATE_EPOCH": str(build.epoch)},
        stdout=subprocess.DEVNULL,
        check=True,
    )
    shutil.rmtree(stage)
    return out / build.file


def _place_python(build: Build, sources: Sources, stage: Path) -> Path:
    """The python files in their place; returns the folder that holds them."""
    package, target = build.package, build.target
    top = stage / package.home
    if package.command is None:
        sources.fill(top, package, target)
        return top
    home = top / build.version if package.side_by_side else top
    packages = home / "lib" / f"python{target.python}" / "site-packages"
    sources.fill(packages, package, target)
    if package.side_by_side:
        home = home.rename(f"{home}.{fingerprint(home)}")
    (home / "pyvenv.cfg").write_text(
        f"home = /usr/bin\ninclude-system-site-packages = false\nversion = {target.python}\n"
    )
    _place_programs(build, package.command, stage, home)
    return home


def _place_programs(build: Build, command: tuple[str, str], stage: Path, home: Path) -> None:
    name, module = command
    current = "current/" if build.package.side_by_side else ""
    programs = home / "bin"
    programs.mkdir()
    (programs / "python3").symlink_to(f"/usr/bin/python{build.target.python}")
    here = f"/{programs.relative_to(stage)}"
    _program(
        programs / name,
        f"#!{here}/python3 -I\nimport sys\nfrom {module} import main\n\nsys.exit(main())\n",
    )
    launcher = f"""\
#!/bin/sh
# By its real path, so that a process keeps the files that it began with.
exec "$(readlink -f /{build.package.home}/{current}bin/{name})" "$@"
"""
    _program(stage / "usr" / "bin" / name, launcher)


def _program(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
    target.chmod(0o644)


def _place_documents(build: Build, root: Path, stage: Path) -> None:
    folder = stage / "usr/share/doc" / build.package.name
    _copy(root / "packaging" / "deb" / "copyright", folder / "copyright")
    entry = f"{build.package.name} ({build.version}) stable; urgency=medium\n\n"
    entry += f"  * See CHANGELOG.md of Sealane.\n\n -- {_MAINTAINER}  "
    entry += _rfc_2822(build.epoch)
    (folder / "changelog.Debian.gz").write_bytes(gzip.compress(entry.encode(), 9, mtime=0))


def _rfc_2822(epoch: int) -> str:
    from email.utils import formatdate  # noqa: PLC0415 - used once

    return f"{formatdate(epoch)}\n"


def _place_control(build: Build, root: Path, stage: Path, words: Mapping[str, str]) -> None:
    control = stage / "DEBIAN"
    control.mkdir(mode=0o755)
    for name in _SCRIPTS:
        source = root / "packaging" / "deb" / build.package.name / name
        if source.is_file():
            _program(control / name, _filled(source.read_text(), build, words))
    configuration = [f"/{path.relative_to(stage)}" for path in _files(stage / "etc")]
    if configuration:
        (control / "conffiles").write_text("".join(f"{name}\n" for name in configuration))
    sums = (
        f"{hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()}  "
        f"{path.relative_to(stage)}\n"
        for path in _files(stage)
        if control not in path.parents
    )
    (control / "md5sums").write_text("".join(sums))
    (control / "control").write_text(_control(build, _installed_kib(stage)))


def _filled(text: str, build: Build, words: Mapping[str, str]) -> str:
    for word, value in {**words, "@PYTHON@": f"python{build.target.python}"}.items():
        text = text.replace(word, value)
    return text


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


def _files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.is_symlink():
            yield path


def _installed_kib(stage: Path) -> int:
    """By the files' sizes alone: how much a disk block takes differs between machines."""
    return sum(-(-path.stat().st_size // _KIB) for path in _files(stage))


def _date(stage: Path, epoch: int) -> None:
    for path in (stage, *stage.rglob("*")):
        if path.is_dir() and not path.is_symlink():
            path.chmod(0o755)
        elif not path.is_symlink():
            path.chmod(0o755 if path.stat().st_mode & 0o100 else 0o644)
        os.utime(path, (epoch, epoch), follow_symlinks=False)
