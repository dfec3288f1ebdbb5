"""What real machines need from this one; said before anything is made."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

PROGRAMS: Final = {
    "systemd-nspawn": "systemd-container",
    "dpkg-deb": "dpkg",
    "nsenter": "util-linux",
    "ip": "iproute2",
    "zstd": "zstd",
    "strace": "strace",
    "curl": "curl",
    "rpmbuild": "rpm",
    "patchelf": "patchelf",
    "buildah": "buildah",
    "runc": "runc",
}
"""Programs, and the Debian packages that bring them."""


def missing() -> str:
    """What is missing, as one sentence; empty when nothing is."""
    return "; ".join(_missing())


def _missing() -> Iterator[str]:
    if os.geteuid() != 0:
        yield "not root"
        return
    if not Path("/usr/bin/python3.11").exists():
        yield "this is no Debian 12: /usr/bin/python3.11 is not there"
    for program, package in PROGRAMS.items():
        if shutil.which(program) is None:
            yield f"{program} is missing: apt-get install {package}"
    if not Path("/dev/net/tun").exists():
        yield "there is no /dev/net/tun for the network between them"
    probe = "mount -t tmpfs tmpfs /mnt && ip netns list"
    asked = subprocess.run(
        ["unshare", "--mount", "--net", "--pid", "--fork", "sh", "-c", probe],  # noqa: S607 - as the system finds it
        capture_output=True,
        text=True,
        check=False,
    )
    if asked.returncode:
        yield f"no namespaces or mounts here: {asked.stderr.strip()}"
