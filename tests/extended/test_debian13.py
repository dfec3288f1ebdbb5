"""The package for Debian 13, unpacked into that release's own Python: it imports and answers."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

from packager.debian import Archive
from realworld.conftest import build_packages

if TYPE_CHECKING:
    from pathlib import Path

IMPORTS = "import grpc, httptools, numpy, onnxruntime, sqlite3, ssl, tuf.api.metadata, uvloop"


def test_the_agent_runs_with_the_python_of_debian_13(tmp_path: Path) -> None:
    package = build_packages(tmp_path / "out", "sealane-agent", "--suite", "deb13")["sealane-agent"]
    root = tmp_path / "root"
    for name in ("bin", "lib", "lib64"):
        (root / "usr" / name).mkdir(parents=True)
        (root / name).symlink_to(f"usr/{name}")
    wanted = ("python3.13-minimal", "libpython3.13-stdlib", "libstdc++6", "dash", "coreutils")
    for each in Archive("deb13", "amd64", tmp_path).fetch(*wanted):
        each.unpack(root)
    subprocess.run(["dpkg-deb", "--extract", package, root], check=True)  # noqa: S607 - as the system finds it
    home = next((root / "usr/lib/sealane-agent").iterdir())
    said = in_root(
        root, f"/{home.relative_to(root)}/bin/python3", "-I", "-c", f"{IMPORTS}; print(1)"
    )
    assert said.endswith("1\n")
    (root / "usr/lib/sealane-agent/current").symlink_to(home.name)
    assert "usage: sealane-agent" in in_root(root, "/bin/sh", "/usr/bin/sealane-agent", "--help")


def in_root(root: Path, *words: str) -> str:
    done = subprocess.run(
        ["chroot", str(root), *words],  # noqa: S607 - as the system finds it
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return done.stdout
