"""Real machines are booted only when they are asked for: `scripts/test-real`."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest
from demo_story.models import Models, make_models
from realworld.capabilities import missing
from realworld.fleet import DEVICES, Fleet
from realworld.network import Network

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT: Final = Path(__file__).parents[2]
ASKED: Final = "SEALANE_REALWORLD"
LINES: Final = {
    "one": {"delay_ms": 40.0, "jitter_ms": 5.0, "loss": 0.02},
    "two": {"delay_ms": 20.0, "rate_kbit": 2000.0},
    "three": {"delay_ms": 150.0, "jitter_ms": 30.0, "loss": 0.01},
}
"""How far, slow and bad the lines to the devices are, each way; the manager's own is good."""
REQUIRED: Final = "SEALANE_MUST_BOOT"

NOT_SOURCES: Final = (".venv", ".*_cache", ".hypothesis", "__pycache__", "dist")
"""What other tests write into the tree while it is copied."""

if not os.environ.get(ASKED):
    collect_ignore_glob = ["test_*.py"]


@pytest.fixture(scope="session", autouse=True)
def capable() -> None:
    """In continuous integration a missing capability is a failure, elsewhere a reason to skip."""
    if reason := missing():
        if os.environ.get(REQUIRED):
            pytest.fail(f"this machine cannot boot others: {reason}")
        pytest.skip(f"this machine cannot boot others: {reason}")


@pytest.fixture(scope="session", autouse=True)
def ended_in_order() -> None:
    """A test run that is told to end takes its machines away first."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)


@pytest.fixture(scope="session")
def packages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The packages, built once, by name."""
    return build_packages(tmp_path_factory.mktemp("packages"))


@pytest.fixture(scope="session")
def newer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The agent's package with a later revision."""
    folder = tmp_path_factory.mktemp("newer")
    return build_packages(folder, "sealane-agent", "--revision", "2")["sealane-agent"]


def build_packages(folder: Path, *arguments: str) -> dict[str, Path]:
    """Packages for Debian, by name."""
    build(folder, *arguments)
    return {path.name.partition("_")[0]: path for path in folder.glob("*.deb")}


def build(folder: Path, *arguments: str) -> Path:
    """Packages of any form into a folder; returns it."""
    subprocess.run([ROOT / "scripts" / "package", "--out", folder, *arguments], check=True)
    return folder


def build_elsewhere(folder: Path, *arguments: str) -> Path:
    """The same from a copy of the tree, in other surroundings; returns where they lie."""
    copied, out = folder / "tree", folder / "out"
    folder.mkdir(exist_ok=True)
    shutil.copytree(ROOT, copied, ignore=shutil.ignore_patterns(*NOT_SOURCES))
    (copied / ".venv").symlink_to(ROOT / ".venv")
    subprocess.run(
        [copied / "scripts" / "package", "--out", out, *arguments],
        check=True,
        env=os.environ | {"TZ": "Asia/Kolkata", "LC_ALL": "C"},
        umask=0o077,
    )
    return out


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Models:
    return make_models(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="session")
def fleet(
    packages: dict[str, Path], models: Models, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Fleet]:
    """Four machines; the packages installed, the devices enrolled, release 1 serving."""
    prefix = f"slp-{secrets.token_hex(2)}"
    network = Network()
    try:
        built = Fleet(tmp_path_factory.mktemp("fleet"), network, prefix)
        try:
            built.boot()
            built.install(packages)
            built.begin()
            for device in DEVICES:
                built.enrol(device)
            built.wait_connected(len(DEVICES))
            built.clock.say("three devices hold a session")
            for name, line in LINES.items():
                network.shape(built.boxes[name].name, **line)
            built.publish(models, 1)
            assert built.roll_out(1, "100%")["state"] == "succeeded"
            yield built
        finally:
            built.stop()
    finally:
        network.remove()
