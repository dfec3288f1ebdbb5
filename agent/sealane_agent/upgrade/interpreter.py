"""The interpreter of a version: that of the package that starts it, wherever its files lie."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from sealane import fileio

if TYPE_CHECKING:
    from pathlib import Path


def interpreter(tree: Path) -> Path:
    """The program that runs a version."""
    return tree / "bin" / "python3"


def place_interpreter(tree: Path) -> None:
    """Let a version be run by this process's own interpreter; raises OSError.

    Done anew whenever it is started: the package may have brought another interpreter meanwhile.
    """
    program = os.path.realpath(sys.executable)
    link = interpreter(tree)
    if link.is_symlink() and os.readlink(link) == program:  # noqa: PTH115 - as it stands there
        return
    folder = os.path.dirname(program)  # noqa: PTH120 - beside the line above
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    said = f"home = {folder}\ninclude-system-site-packages = false\nversion = {version}\n"
    fileio.replace(tree / "pyvenv.cfg", said.encode())
    link.parent.mkdir(exist_ok=True)
    link.unlink(missing_ok=True)
    link.symlink_to(program)
