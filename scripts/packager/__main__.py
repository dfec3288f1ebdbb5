"""`scripts/package`: builds packages and prints how large they are."""

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

from packager.deb import make_deb
from packager.image import make_image
from packager.rpm import make_rpm
from packager.site import Sources
from packager.stage import Build
from packager.tarball import make_tarball
from packager.targets import ARCHITECTURES, LINUX, PACKAGES, SUITES, Target, target

ROOT: Final = Path(__file__).resolve().parents[2]
MIB: Final = 1024 * 1024
FORMS: Final = {"deb": make_deb, "tar": make_tarball, "rpm": make_rpm, "image": make_image}


def main() -> int:
    """Build what was asked for; the exit status."""
    arguments = _arguments()
    with tempfile.TemporaryDirectory(prefix="sealane-package-") as work:
        sources = Sources(ROOT, Path(work))
        usual = [name for name, package in PACKAGES.items() if package.usual]
        for name in arguments.packages or usual:
            for form in arguments.form or ["deb"]:
                build = Build(PACKAGES[name], *_fits(form, arguments), _epoch())
                _make(form, build, (sources, Path(work), arguments.out))
    return 0


def _fits(form: str, arguments: argparse.Namespace) -> tuple[Target, str]:
    """What a form is built for, and its full version."""
    version = tomllib.loads((ROOT / "core" / "pyproject.toml").read_text())["project"]["version"]
    full = f"{version}-{arguments.revision}"
    if form == "deb":
        return target(arguments.suite, arguments.arch), f"{full}+{arguments.suite}"
    return target(LINUX, arguments.arch), full


def _make(form: str, build: Build, places: tuple[Sources, Path, Path]) -> None:
    began = time.monotonic()
    made = FORMS[form](build, *places)
    seconds = time.monotonic() - began
    print(f"{made.name}  {made.stat().st_size / MIB:.1f} MiB  built in {seconds:.1f} s")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/package", description=__doc__)
    parser.add_argument(
        "packages", nargs="*", choices=(*PACKAGES, []), help="default: the usual ones"
    )
    parser.add_argument(
        "--form", choices=FORMS, action="append", help="default: deb; the others fit any Linux"
    )
    parser.add_argument("--suite", choices=SUITES, default="deb12", help="of a deb")
    parser.add_argument("--arch", choices=ARCHITECTURES, default="amd64")
    parser.add_argument("--revision", default="1", help="of this version's packages")
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
