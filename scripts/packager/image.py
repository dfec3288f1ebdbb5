"""Makes an OCI image that holds one package and nothing else, with buildah and without a daemon."""

from __future__ import annotations

import compileall
import json
import py_compile
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

from packager.archive import Special, write_tar
from packager.stage import copy, date, lay_out

if TYPE_CHECKING:
    from collections.abc import Mapping

    from packager.debian import Archive
    from packager.site import Sources
    from packager.stage import Build, Stage

USER: Final = 10001
"""Number of the user and the group as which everything in a container runs."""

_STATE: Final = {"sealane-agent": "var/lib/sealane-agent", "sealane-manager": "var/lib/sealane"}
_FOR_SYSTEMD: Final = ("systemd", "sysusers.d", "tmpfiles.d")


class NoImage(Exception):  # noqa: N818 - the word says what is wrong
    """No image can be made of what was asked for."""


def make_image(build: Build, sources: Sources, work: Path, out: Path) -> Path:
    """Make an OCI archive; raises NoImage and what `lay_out` raises."""
    if build.package.name not in _STATE:
        raise NoImage(f"{build.package.name} runs nothing by itself: its files go with the agent's")
    stage = lay_out(build, sources, work)
    special = _fit_out(stage, sources)
    context = work / f"image-{build.package.name}"
    shutil.rmtree(context, ignore_errors=True)
    context.mkdir()
    with (context / "root.tar").open("wb") as file:
        write_tar(file, stage.folder, special=special)
    shutil.rmtree(stage.folder)
    source = sources.root / "packaging" / "container" / f"{build.package.name}.Containerfile"
    copy(source, context / "Containerfile")
    layout = _built(build, context)
    date(layout, build.epoch)
    out.mkdir(parents=True, exist_ok=True)
    made = out / f"{build.package.name}-{build.version}-{build.target.arch}.oci.tar"
    with made.open("wb") as file:
        write_tar(file, layout)
    shutil.rmtree(context)
    return made


def _fit_out(stage: Stage, sources: Sources) -> Mapping[str, Special]:
    """Turn a machine's files into a container's; returns what is special about some."""
    root, build = stage.folder, stage.build
    for name in _FOR_SYSTEMD:
        shutil.rmtree(root / "usr/lib" / name, ignore_errors=True)
    assert build.package.command is not None  # noqa: S101 - it is one of _STATE
    name = build.package.command[0]
    launcher = root / "usr/bin" / name
    launcher.unlink()  # it is for a shell, and an image never changes its version
    launcher.symlink_to(f"{stage.final_home}/bin/{name}")
    _compile(stage)
    _place_zones(root, sources.archive(build.target.arch))
    state = _STATE[build.package.name]
    (root / state).mkdir(parents=True)
    (root / "tmp").mkdir()
    (root / "etc/passwd").write_text(
        f"root:x:0:0::/:/nonexistent\nsealane:x:{USER}:{USER}::/{state}:/nonexistent\n"
    )
    (root / "etc/group").write_text(f"root:x:0:\nsealane:x:{USER}:\n")
    date(root, build.epoch)
    return {state: Special(USER), "tmp": Special(mode=0o1777)}


def _place_zones(root: Path, archive: Archive) -> None:
    """Windows are written in a device's time zone, and a container has no machine's."""
    zones = "usr/share/zoneinfo"
    with TemporaryDirectory(prefix="sealane-zones-") as folder:
        for package in archive.fetch("tzdata"):
            if package.field("Package") == "tzdata":
                package.unpack(Path(folder))
        shutil.copytree(Path(folder) / zones, root / zones, symlinks=True)


def _compile(stage: Stage) -> None:
    """Bytecode for a root file system that nobody may write to."""
    wanted = stage.build.target.python
    if f"{sys.version_info.major}.{sys.version_info.minor}" != wanted:
        raise NoImage(f"images are built with python {wanted}: set SEALANE_PYTHON to one")
    compileall.compile_dir(
        stage.home,
        maxlevels=30,
        quiet=2,
        stripdir=str(stage.folder),
        prependdir="/",
        invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
    )


def _built(build: Build, context: Path) -> Path:
    """The image as an OCI layout."""
    layout, name = context / "layout", f"{build.package.name}:{build.version}"
    store = (f"--root={context}/store", f"--runroot={context}/run", "--storage-driver=vfs")
    about = {
        "title": build.package.name,
        "version": build.version,
        "description": build.package.summary,
        "licenses": "Apache-2.0",
    }
    labels = (f"--label=org.opencontainers.image.{key}={value}" for key, value in about.items())
    _buildah(
        *(*store, "bud", "--isolation=chroot", "--format=oci", f"--timestamp={build.epoch}"),
        *("--identity-label=false", f"--arch={build.target.arch}", *labels),
        *(f"--tag={name}", str(context)),
    )
    _buildah(*store, "push", "--quiet", "--format=oci", name, f"oci:{layout}:{build.version}")
    _buildah(*store, "rmi", "--all", "--force")
    index = layout / "index.json"
    index.write_text(json.dumps(json.loads(index.read_text()), sort_keys=True))
    return layout


def _buildah(*arguments: str) -> None:
    subprocess.run(["buildah", *arguments], stdout=subprocess.DEVNULL, check=True)  # noqa: S607 - as the system finds it
