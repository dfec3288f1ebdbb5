"""Gives a package a Python and a C library of its own, so that all it needs is a kernel.

The interpreter and its libraries are Debian's. The interpreter is told where they lie, and loads at
once whatever wheels want of the system, so that none of the machine's libraries is taken instead.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from packager.debian import Archive, Fetched

_NOT_NEEDED: Final = (
    *("ensurepip", "idlelib", "lib2to3", "pydoc_data", "curses", "dbm", "sitecustomize.py"),
    *("lib-dynload/_test*.so", "lib-dynload/_xx*.so", "lib-dynload/xx*.so"),
    *("lib-dynload/_curses*.so", "lib-dynload/_dbm*.so", "lib-dynload/nis*.so"),
    *("lib-dynload/readline*.so", "lib-dynload/ossaudiodev*.so", "lib-dynload/_ctypes_test*.so"),
)
"""Of the standard library: what no process of ours imports, and some of which needs libraries."""

_FOR_WHEELS: Final = (
    *("libstdc++.so.6", "libgcc_s.so.1", "libm.so.6"),
    *("libdl.so.2", "libpthread.so.0", "librt.so.1", "libutil.so.1"),
)
"""What wheels may want of any Linux, by their platform's definition."""


class NotHeld(Exception):  # noqa: N818 - the word says what is wrong
    """A library wants another that would have to be taken from the machine."""


def place(home: Path, python: str, archive: Archive) -> None:
    """Fill `home/base` with `python3.11`, say; raises NoArchive, CalledProcessError or OSError."""
    fetched = archive.fetch(f"{python}-minimal", f"lib{python}-stdlib", "libstdc++6")
    with TemporaryDirectory(prefix="sealane-base-") as folder:
        for package in fetched:
            package.unpack(Path(folder))
        _place_parts(home / "base", python, Path(folder))
        _place_licences(home / "base", Path(folder), fetched)


def _place_parts(base: Path, python: str, unpacked: Path) -> None:
    (base / "bin").mkdir(parents=True)
    shutil.copyfile(unpacked / "usr/bin" / python, base / "bin" / python)
    (base / "bin" / python).chmod(0o755)
    library = base / "lib" / python
    shutil.copytree(unpacked / "usr/lib" / python, library, symlinks=True)
    for name in _NOT_NEEDED:
        for path in library.glob(name):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    _place_libraries(base, unpacked)


def settle(home: Path, final: str) -> None:
    """Tell the interpreter where it will lie, once everything is in its place; raises NotHeld."""
    system = home / "base" / "lib" / "system"
    libraries = tuple(_libraries(home))
    wanted = {name for path in libraries for name in _needed(path)}
    if missing := wanted - {path.name for path in libraries}:
        raise NotHeld(f"{home.name} wants of the machine: {', '.join(sorted(missing))}")
    loader = next(system.glob("ld-linux*")).name
    program = _interpreter(home / "base")
    # One change a call: patchelf 0.14 mixes several up. Absolute: $ORIGIN needs a mounted /proc
    _said("patchelf", "--force-rpath", "--set-rpath", f"{final}/base/lib/system", str(program))
    for_wheels = {name for path in _libraries(home / "lib") for name in _needed(path)}
    for name in sorted(for_wheels & {path.name for path in system.iterdir()} - {loader}):
        _said("patchelf", "--add-needed", name, str(program))
    _said("patchelf", "--set-interpreter", f"{final}/base/lib/system/{loader}", str(program))


def _place_libraries(base: Path, unpacked: Path) -> None:
    held = {path.name: path for path in _shared(unpacked)}
    system = base / "lib" / "system"
    system.mkdir()
    programs = [*_libraries(base), _interpreter(base)]
    waiting = [*_FOR_WHEELS, *(name for path in programs for name in _needed(path))]
    while waiting:
        name = waiting.pop()
        if name in held and not (system / name).exists():
            shutil.copyfile(held[name], system / name)
            (system / name).chmod(0o755)
            waiting += _needed(system / name)


def _interpreter(base: Path) -> Path:
    return next((base / "bin").iterdir())


def _shared(unpacked: Path) -> Iterator[Path]:
    for folder in ("lib", "usr/lib"):
        for path in sorted((unpacked / folder).glob("*-linux-gnu/*.so.*")):
            if path.is_file():
                yield path


def _libraries(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*.so*")):
        if path.is_file() and not path.is_symlink():
            with path.open("rb") as file:
                if file.read(4) == b"\x7fELF":
                    yield path


def _needed(library: Path) -> list[str]:
    return _said("patchelf", "--print-needed", str(library)).split()


def _place_licences(base: Path, unpacked: Path, fetched: Iterable[Fetched]) -> None:
    documents = base / "share" / "doc"
    for package in fetched:
        name = package.field("Package")
        source = unpacked / "usr/share/doc" / name / "copyright"
        if source.is_file():
            (documents / name).mkdir(parents=True)
            shutil.copyfile(source, documents / name / "copyright")
    rows = sorted(f"{each.field('Package')} {each.field('Version')}\n" for each in fetched)
    (base / "share" / "debian-packages").write_text("".join(rows))


def _said(*command: str) -> str:
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
