"""Programs of another processor on this machine, through qemu and the kernel's list of formats."""

from __future__ import annotations

import os
import subprocess
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

FORMATS: Final = Path("/proc/sys/fs/binfmt_misc")
QEMU: Final = "/usr/bin/qemu-aarch64-static"
NAME: Final = "sealane-aarch64"
MAGIC: Final = r"\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00"
MASK: Final = r"\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff"

CPUINFO: Final = """\
processor\t: 0
BogoMIPS\t: 50.00
Features\t: fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm
CPU implementer\t: 0x41
CPU architecture: 8
CPU variant\t: 0x1
CPU part\t: 0xd0c
CPU revision\t: 1

"""
"""What qemu does not translate: with this machine's own, onnxruntime's look at it crashes."""


@contextmanager
def emulated_arm64() -> Iterator[None]:
    """While it lasts, the kernel runs programs for arm64; raises OSError or CalledProcessError."""
    mounted = (FORMATS / "register").exists()
    if not mounted:
        _run("mount", "-t", "binfmt_misc", "binfmt_misc", str(FORMATS))
    known = any((FORMATS / name).exists() for name in (NAME, "qemu-aarch64"))
    try:
        if not known:
            # F: the emulator is opened now, so that it is found from any root folder
            (FORMATS / "register").write_text(f":{NAME}:M::{MAGIC}:{MASK}:{QEMU}:F")
        yield
    finally:
        if not known:
            (FORMATS / NAME).write_text("-1")
        if not mounted:
            _run("umount", str(FORMATS))


def in_root(root: Path, *words: str) -> list[str]:
    """The command that runs a program in a root folder, with what it needs mounted there."""
    cpuinfo = root / "cpuinfo"
    cpuinfo.write_text(CPUINFO * (os.cpu_count() or 1))
    for name in ("proc", "dev", "sys"):
        (root / name).mkdir(exist_ok=True)
    script = (
        f"mount -t proc proc {root}/proc && mount --bind {cpuinfo} {root}/proc/cpuinfo"
        f" && mount --rbind /dev {root}/dev && mount --rbind /sys {root}/sys"
        f' && exec chroot {root} "$@"'
    )
    return ["unshare", "--mount", "--propagation=private", "sh", "-c", script, "sh", *words]


def _run(*words: str) -> None:
    subprocess.run(words, check=True)
