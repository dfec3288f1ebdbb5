"""`scripts/package`: builds .deb files and prints how large they are."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
import tomllib
from pathlib import Path
from typing import Final

from packager.deb import Build, build
from packager.site import Sources
from packager.targets import ARCHITECTURES, PACKAGES, SUITES, Target, target

ROOT: Final = Path(__file__).resolve().parents[2]
MIB: Final = 1024 * 1024


def main() -> int:
    """Build what was asked for; the exit status."""
    arguments = _arguments()
    version = tomllib.loads((ROOT / "core" / "pyproject.toml").read_text())["project"]["version"]
    wanted = target(arguments.suite, arguments.arch)
    debian = f"{version}-{arguments.revision}+{wanted.suite}"
    with tempfile.TemporaryDirectory(prefix="sealane-package-") as work:
        sources = Sources(ROOT, Path(work))
        for name in arguments.packages or PACKAGES:
            _build_one(name, wanted, debian, (sources, Path(work), arguments.out))
    return 0


def _build_one(name: str, wanted: Target, version: str, places: tuple[Sources, Path, Path]) -> None:
    began = time.monotonic()
    made = build(Build(PACKAGES[name], wanted, version, _epoch()), *places)
    seconds = time.monotonic() - began
    print(f"{made.name}  {made.stat().st_size / MIB:.1f} MiB  built in {seconds:.1f} s")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/package", description=__doc__)
    parser.add_argument("packages", nargs="*", choices=(*PACKAGES, []), help="default: all")
    parser.add_argument("--suite", choices=SUITES, default="deb12")
    parser.add_argument("--arch", choices=ARCHITECTURES, default="amd64")
    parser.add_argument("--revision", default="1", help="Debian's revision")
    parser.add_argument("--out", type=Path, default=ROOT / "dist", help="folder for the files")
    return parser.parse_args()


def _epoch() -> int:
    """SOURCE_DATE_EPOCH, else the time of the last commit, else a fixed day."""
    given = os.environ.get("SOURCE_DATE_EPOCH", "")
    if given.isdigit():
        return int(given)
    asked = subprocess.run(
        ["git", "-C", str(ROOT), "log", "-1", "--format=%ct"],  # noqa: S607 - as the system finds it
        capture_output=True,
        text=True,
        check=False,
    )
    return int(asked.stdout) if asked.returncode == 0 else 1_767_225_600


if __name__ == "__main__":
    sys.exit(main())
