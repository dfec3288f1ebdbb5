"""Fills a folder with the python files that a package carries: wheels by the lock, and our own."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from typing import TYPE_CHECKING, Final

from packager import lock
from packager.debian import Archive
from packager.targets import BASE_SUITE

if TYPE_CHECKING:
    from pathlib import Path

    from packager.targets import Package, Target

_ONLY_HERE: Final = ("RECORD", "REQUESTED", "INSTALLER", "direct_url.json", "uv_cache.json")
"""What the installer writes about this machine."""

_NOT_NEEDED: Final = (
    "bin",
    "onnx/backend/test",
    "onnx/test",
    "nvidia/cu13/include",
    "nvidia/cudnn/include",
    "onnxruntime/backend",
    "onnxruntime/datasets",
    "onnxruntime/quantization",
    "onnxruntime/tools",
    "onnxruntime/transformers",
    "openvino/include",
    "openvino/cmake",
)
"""Folders that no process of ours reads."""


class Sources:
    """The tree that packages are built from."""

    def __init__(self, root: Path, work: Path) -> None:
        self.root, self._work = root, work
        self._wheels: dict[str, Path] = {}
        self._archives: dict[str, Archive] = {}

    def fill(self, site: Path, package: Package, target: Target) -> None:
        """Install everything that the package carries; raises CalledProcessError or NotLocked."""
        wanted = self._resolve(package, target)
        chosen = self._work / f"{package.name}-{target.suite}-{target.arch}.txt"
        locked = (self.root / package.lock).read_text()
        chosen.write_text(lock.choose(locked, wanted, package.without))
        self._install(site, target, "--require-hashes", "--requirement", str(chosen))
        if package.own:
            wheels = [str(self._wheel(name)) for name in package.own]
            self._install(site, target, *wheels)
        if package.packs:
            (site / "sealane-runtimes.pth").write_text(
                "\n".join(f"/{each}" for each in package.packs)
            )
        _tidy(site)

    def archive(self, arch: str) -> Archive:
        """Where the packages come from whose Python is brought along."""
        return self._archives.setdefault(arch, Archive(BASE_SUITE, arch, self._work))

    def _resolve(self, package: Package, target: Target) -> dict[str, str]:
        """Which locked versions the target needs."""
        given = [str(self.root / name / "pyproject.toml") for name in package.projects[:1]]
        if package.engine:
            asked = self._work / f"{package.name}.in"
            asked.write_text(f"{package.engine}\n")
            given = [str(asked)]
        answer = _uv(
            *("pip", "compile", *given, *(f"--extra={extra}" for extra in package.extras)),
            *("--constraints", str(self.root / package.lock), "--no-header"),
            *("--no-annotate", *_platform(target)),
        )
        return lock.pins(answer)

    def _install(self, site: Path, target: Target, *what: str) -> None:
        _uv(
            *("pip", "install", "--target", str(site), "--no-deps", "--only-binary", ":all:"),
            *("--link-mode", "copy", "--no-compile-bytecode", *_platform(target), *what),
        )

    def _wheel(self, project: str) -> Path:
        if project not in self._wheels:
            out = self._work / f"wheel-{project}"
            _uv("build", "--wheel", "--out-dir", str(out), str(self.root / project))
            self._wheels[project] = next(out.glob("*.whl"))
        return self._wheels[project]


def _platform(target: Target) -> tuple[str, ...]:
    return "--python-version", target.python, "--python-platform", target.wheels


def _uv(*arguments: str) -> str:
    program = shutil.which("uv")
    if program is None:
        raise FileNotFoundError("uv is not installed: pip install uv")
    done = subprocess.run(
        [program, "--quiet", *arguments], stdout=subprocess.PIPE, text=True, check=True
    )
    return done.stdout


def _tidy(site: Path) -> None:
    """Leave out what differs between machines and what nobody reads; never strip a library."""
    for name in _NOT_NEEDED:
        shutil.rmtree(site / name, ignore_errors=True)
    for folder, folders, files in os.walk(site):
        for name in [name for name in folders if name == "__pycache__"]:
            shutil.rmtree(os.path.join(folder, name))  # noqa: PTH118 - os.walk speaks strings
            folders.remove(name)
        for name in files:
            about_here = folder.endswith(".dist-info") and name in _ONLY_HERE
            if about_here or name.endswith((".pyi", ".pyc")) or name == ".lock":
                os.unlink(os.path.join(folder, name))  # noqa: PTH108, PTH118 - the same


def fingerprint(folder: Path) -> str:
    """Eight hex digits of everything in a folder, names and bytes."""
    total = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.is_symlink():
            total.update(f"{path.relative_to(folder)}\0".encode())
            total.update(hashlib.sha256(path.read_bytes()).digest())
    return total.hexdigest()[:8]
