"""Makes an .rpm of a tarball, with the same scripts."""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
from typing import TYPE_CHECKING, Final

from packager.tarball import tarball_of, top_of

if TYPE_CHECKING:
    from pathlib import Path

    from packager.site import Sources
    from packager.stage import Build

_SETTINGS: Final = {
    "_build_id_links": "none",
    "debug_package": "%{nil}",
    "__os_install_post": "%{nil}",  # stripping breaks the libraries of wheels
    "_binary_payload": "w3.zstdio",
    "_buildhost": "sealane",
    "use_source_date_epoch_as_buildtime": "1",
    "clamp_mtime_to_source_date_epoch": "1",
}

SCRIPTS: Final = {
    "pre": '[ "$1" = 1 ] || before_install',
    "post": '[ "$1" != 1 ] || first_install',
    "posttrans": "after_install",
    "preun": '[ "$1" != 0 ] || before_removal',
    "postun": '[ "$1" != 0 ] || after_removal',
}
"""What of a package's functions each of rpm's scripts calls; `$1` is how many will be installed."""


def make_rpm(build: Build, sources: Sources, work: Path, out: Path) -> Path:
    """Make the .rpm file; raises what `lay_out` raises."""
    tarball = tarball_of(build, sources, work)
    top = work / f"rpm-{build.package.name}"
    shutil.rmtree(top, ignore_errors=True)
    top.mkdir()
    spec = top / f"{build.package.name}.spec"
    spec.write_text(_spec(build, tarball))
    settings = {**_SETTINGS, "_topdir": str(top), "_sourcedir": str(work), "_rpmdir": str(top)}
    defined = (f"--define={name} {value}" for name, value in settings.items())
    given = ("--quiet", f"--target={build.target.machine}-linux", *defined, str(spec))
    subprocess.run(
        ["rpmbuild", "-bb", *given],  # noqa: S607 - as the system finds it
        env=os.environ | {"SOURCE_DATE_EPOCH": str(build.epoch)},
        stdout=subprocess.DEVNULL,
        check=True,
    )
    made = next(top.rglob("*.rpm"))
    out.mkdir(parents=True, exist_ok=True)
    shutil.move(made, out / made.name)
    shutil.rmtree(top)
    return out / made.name


def _spec(build: Build, tarball: Path) -> str:
    package, top = build.package, top_of(build)
    version, _, release = build.version.partition("-")
    with tarfile.open(tarball) as archive:
        hooks, files, configuration = (
            _text(archive, f"{top}/{name}") for name in ("hooks.sh", "files", "configuration")
        )
    head = (
        f"Name: {package.name}",
        f"Version: {version}",
        f"Release: {release}",
        f"Summary: {package.summary}",
        "License: Apache-2.0",
        "Requires: systemd >= 250",
        *(f"Requires: {name}" for name in package.depends if name != "systemd"),
        "AutoReqProv: no",
        f"Source0: {tarball.name}",
        "",
        "%description",
        *package.description,
        "",
        "%prep",
        f"%setup -q -n {top}",
        "",
        "%install",
        "cp -a root/. %{buildroot}/",
        "",
    )
    lines = [*head, "%files", *_owned(build, files, configuration), ""]
    for name, call in SCRIPTS.items():
        lines += [f"%{name}", "set -e", hooks.replace("%", "%%"), call, ""]
    return "".join(f"{line}\n" for line in lines)


def _owned(build: Build, files: str, configuration: str) -> list[str]:
    """Whole folders where they are the package's own."""
    whole = (build.package.home, f"usr/share/doc/{build.package.name}")
    owned = [f"/{folder}" for folder in whole]
    owned += [f"%config(noreplace) /{name}" for name in configuration.splitlines()]
    owned += ["%dir /etc/sealane"] if configuration else []
    return owned + [
        f"/{name}"
        for name in files.splitlines()
        if not any(name.startswith(f"{folder}/") for folder in whole)
    ]


def _text(archive: tarfile.TarFile, name: str) -> str:
    file = archive.extractfile(name)
    assert file is not None, name  # noqa: S101 - the tarball is ours
    return file.read().decode()
