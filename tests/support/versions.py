"""Versions of the agent for tests: this tree's own code under another number, with what it needs.

A version is as small as its own files: what it depends on is found where this process finds it.
"""

from __future__ import annotations

import shutil
import site
import sys
from importlib.metadata import distribution
from pathlib import Path

import sealane
import sealane_agent

PYTHON = f"python{sys.version_info.major}.{sys.version_info.minor}"


def version_tree(folder: Path, number: str, added: str = "") -> Path:
    """A version's folder, as its package would lay it; `added` runs when the agent is imported."""
    packages = folder / "lib" / PYTHON / "site-packages"
    packages.mkdir(parents=True)
    for module in (sealane, sealane_agent):
        source = Path(module.__path__[0])
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(source, packages / source.name, ignore=ignored)
    for name in ("sealane", "sealane-agent"):
        _describe(packages, name, number)
    (packages / "needs.pth").write_text("\n".join(site.getsitepackages()) + "\n")
    with (packages / "sealane_agent" / "app.py").open("a") as module_file:
        module_file.write(f"\n{added}\n")
    return folder


def _describe(packages: Path, name: str, number: str) -> None:
    found = distribution(name)
    about = packages / f"{name.replace('-', '_')}-{number}.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {number}\n")
    if points := found.read_text("entry_points.txt"):
        (about / "entry_points.txt").write_text(points)
