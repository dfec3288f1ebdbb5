"""A machine with a kernel of its own: Debian in qemu, without any acceleration.

Its control groups are of version 2 alone, which this machine's kernel need not have. It reaches
this machine's loopback and nothing else: it has an address and no route.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

T = TypeVar("T")

HOST: Final = "10.0.2.2"
"""This machine's loopback, as the other one sees it."""

_ADDRESS: Final = "10.0.2.15/24"
_SHELL, _REST = 7777, 8000
_PACKAGES: Final = (
    *("systemd", "systemd-sysv", "dbus", "udev", "python3", "libstdc++6", "iproute2", "procps"),
    *("linux-image-cloud-amd64", "initramfs-tools"),
)
_UNITS: Final = ("sealane-agent", "sealane-endpoint", "sealane-enroll")
_MEMORY_MIB: Final = 1536
_DISK: Final = "3G"
_INSTALL: Final = 'mount -t proc proc "$0/proc" && exec chroot "$0" dpkg --install "$1"'
_FILES: Final = {
    "etc/hostname": "virtual\n",
    "etc/fstab": "/dev/vda / ext4 defaults 0 1\n",
    "etc/systemd/system/lab-network.service": (
        "[Unit]\nBefore=network.target sealane-enroll.service\n"
        "[Service]\nType=oneshot\nRemainAfterExit=yes\n"
        f"ExecStart=/bin/sh -c 'ip address add {_ADDRESS} dev eth0 && ip link set eth0 up'\n"
        "[Install]\nWantedBy=multi-user.target\n"
    ),
    "etc/systemd/system/lab-shell.socket": (
        f"[Socket]\nListenStream={_SHELL}\nAccept=yes\n[Install]\nWantedBy=sockets.target\n"
    ),
    "etc/systemd/system/lab-shell@.service": (
        "[Service]\nExecStart=-/bin/sh\nStandardInput=socket\nStandardOutput=socket\n"
        "StandardError=socket\nEnvironment=PATH=/usr/sbin:/usr/bin:/sbin:/bin\n"
    ),
}
_SLOW: Final = "[Service]\nTimeoutStartSec=900\nWatchdogSec=600\n"
"""An emulated processor takes a minute for what a real one does in two seconds."""

_WANTED: Final = {
    "multi-user.target.wants": "lab-network.service",
    "sockets.target.wants": "lab-shell.socket",
}


class MachineError(Exception):
    """The machine did not do what it was told; says what it said."""


def eventually(what: str, look: Callable[[], T | None], patience_s: float) -> T:
    """Look until there is something; an emulated machine is slow. Raises MachineError."""
    deadline = time.monotonic() + patience_s
    while (found := look()) is None:
        if time.monotonic() > deadline:
            raise MachineError(f"{what}: not within {patience_s:.0f} s")
        time.sleep(0.5)
    return found


@dataclass
class Virtual:
    """One machine below a folder; `build`, then `start`, and `stop` at the end."""

    folder: Path
    ports: dict[int, int] = field(default_factory=dict)
    _qemu: subprocess.Popen[bytes] | None = None

    @property
    def root(self) -> Path:
        """Its file system before it was made into an image."""
        return self.folder / "root"

    @property
    def rest(self) -> str:
        """Where its REST door answers on this machine."""
        return f"127.0.0.1:{self.ports[_REST]}"

    def build(self, package: Path, files: dict[str, str]) -> None:
        """Debian with the package installed as dpkg installs it, and some files more."""
        _run("mmdebstrap", "--variant=minbase", f"--include={','.join(_PACKAGES)}",
             "bookworm", str(self.root))  # fmt: skip
        shutil.copyfile(package, self.root / package.name)
        _run("unshare", "--mount", "--propagation=private", "sh", "-c", _INSTALL,
             str(self.root), f"/{package.name}")  # fmt: skip
        slow = {f"etc/systemd/system/{unit}.service.d/slow.conf": _SLOW for unit in _UNITS}
        for name, content in {**_FILES, **slow, **files}.items():
            path = self.root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
        for folder, unit in _WANTED.items():
            wants = self.root / "etc/systemd/system" / folder
            wants.mkdir(exist_ok=True)
            (wants / unit).symlink_to(f"/etc/systemd/system/{unit}")
        image = str(self.folder / "disk.img")
        _run("mke2fs", "-q", "-t", "ext4", "-d", str(self.root), image, _DISK)

    def start(self) -> None:
        """Boot it; returns when it takes commands."""
        self.ports = {inside: _free_port() for inside in (_SHELL, _REST)}
        forwards = "".join(f",hostfwd=tcp:127.0.0.1:{at}-:{to}" for to, at in self.ports.items())
        kernel, initrd = (
            next((self.root / "boot").glob(f"{n}-*")) for n in ("vmlinuz", "initrd.img")
        )
        with (self.folder / "console.log").open("wb") as console:
            self._qemu = subprocess.Popen(
                [
                    *("qemu-system-x86_64", "-accel", "tcg,thread=multi", "-cpu", "max"),
                    *("-smp", "2", "-m", str(_MEMORY_MIB), "-nographic", "-nodefaults"),
                    *("-serial", "stdio", "-no-reboot", "-kernel", kernel, "-initrd", initrd),
                    *("-append", "root=/dev/vda rw console=ttyS0 quiet net.ifnames=0"),
                    "-drive",
                    f"file={self.folder / 'disk.img'},if=virtio,format=raw",
                    *("-netdev", f"user,id=lab{forwards}", "-device", "virtio-net-pci,netdev=lab"),
                ],
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
            )
        eventually("a shell", self._listens, 400)

    def _listens(self) -> bool | None:
        assert self._qemu is not None
        if self._qemu.poll() is not None:
            console = (self.folder / "console.log").read_text(errors="replace")
            raise MachineError(f"it ended:\n{console[-2000:]}")
        try:
            return self.run("echo here") == "here\n" or None
        except (OSError, MachineError):
            return None

    def run(self, script: str, patience_s: float = 300.0) -> str:
        """What a script of the shell says, as root; raises MachineError when it fails."""
        with closing(socket.create_connection(("127.0.0.1", self.ports[_SHELL]), 30)) as line:
            line.settimeout(patience_s)
            line.sendall(f'(set -e\n{script}\n) 2>&1; echo "status=$?"\n'.encode())
            line.shutdown(socket.SHUT_WR)
            said = b"".join(iter(lambda: line.recv(65536), b"")).decode(errors="replace")
        output, found, status = said.rpartition("status=")
        if not found or status.strip() != "0":
            raise MachineError(f"{script}\nended {status.strip() or 'early'}:\n{said[-3000:]}")
        return output

    def stop(self) -> None:
        """Cut its power."""
        if self._qemu is not None:
            self._qemu.kill()
            self._qemu.wait()


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


def _run(*words: str) -> None:
    subprocess.run(words, check=True)
