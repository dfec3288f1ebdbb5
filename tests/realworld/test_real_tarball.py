"""Linux machines other than Debian: the tarball and the rpm, on a box without Python."""

from __future__ import annotations

import filecmp
import shutil
import subprocess
import tarfile
import time
from typing import TYPE_CHECKING, Final

import pytest
from realworld.conftest import build, build_elsewhere
from realworld.fleet import MODEL, SLOT, serving_release
from realworld.machine import BoxError, eventually
from realworld.traffic import traffic

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from demo_story.models import Models
    from realworld.fleet import Fleet
    from realworld.machine import Box

FORMS: Final = ("sealane-agent", "--form", "tar", "--form", "rpm")
OTHER: Final = ("--selector", "place=other")
UNITS: Final = ("sealane-endpoint", "sealane-agent")


@pytest.fixture(scope="module")
def tarball(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The agent's tarball."""
    folder = build(tmp_path_factory.mktemp("tarball"), "sealane-agent", "--form", "tar")
    return next(folder.iterdir())


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the agent's tarball and its rpm."""
    return build(tmp_path_factory.mktemp("linux"), *FORMS)


@pytest.fixture(scope="module")
def revisions(built: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """That one, and the same of a later revision."""
    return built, build(tmp_path_factory.mktemp("later"), *FORMS, "--revision", "2")


@pytest.fixture(scope="module")
def other(fleet: Fleet, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Box]:
    """A machine in the fleet's network that knows neither dpkg's agent nor any Python."""
    box = fleet.join("other", tmp_path_factory.mktemp("other"))
    try:
        box.build()
        for python in (box.root / "usr/bin").glob("python3*"):
            python.unlink()
        box.start()
        box.wait_up()
        yield box
        fleet.leave("other")
    finally:
        box.stop()
        box.remove()


@pytest.mark.nightly
def test_a_second_build_of_tarball_and_rpm_elsewhere_gives_the_same_bytes(
    built: Path, tmp_path: Path
) -> None:
    again = build_elsewhere(tmp_path, *FORMS)
    names = sorted(path.name for path in built.iterdir())
    assert names == ["sealane-agent-0.1.0-1-linux-amd64.tar.gz", "sealane-agent-0.1.0-1.x86_64.rpm"]
    for name in names:
        assert filecmp.cmp(built / name, again / name, shallow=False), name


def test_the_tarballs_agent_needs_nothing_but_a_kernel(tarball: Path, tmp_path: Path) -> None:
    root = tmp_path / "root"
    with tarfile.open(tarball) as archive:
        archive.extractall(tmp_path, filter="tar")
    shutil.move(next(tmp_path.glob("sealane-agent-*/root")), root)
    home = next((root / "usr/lib/sealane-agent").iterdir())
    shown = f"/{home.relative_to(root)}"
    imports = "import grpc, httptools, numpy, onnxruntime, sqlite3, ssl, tuf.api.metadata, uvloop"
    say = f"{imports}; print(onnxruntime.__version__, open('/proc/self/maps').read())"
    _said("mkdir", "-p", str(root / "proc"), str(root / "sys"))
    mounts = f"mount -t proc proc {root}/proc && mount --rbind /sys {root}/sys"
    python = f'exec chroot {root} {shown}/bin/python3 -I -c "$0"'
    said = _said("unshare", "--mount", "sh", "-c", f"{mounts} && {python}", say)
    libraries = {word for word in said.split() if ".so" in word}
    assert len(libraries) > 20
    assert {path for path in libraries if not path.startswith(shown)} == set()
    assert "usage: sealane-agent" in _said("chroot", str(root), f"{shown}/bin/sealane-agent", "-h")


@pytest.mark.nightly
def test_the_rpm_holds_what_the_tarball_holds_and_says_what_it_needs(built: Path) -> None:
    rpm, tarball = next(built.glob("*.rpm")), next(built.glob("*.tar.gz"))
    listed = set(_said("rpm", "--query", "--list", "--package", str(rpm)).split("\n"))
    with tarfile.open(tarball) as archive:
        below = "/".join((tarball.name.removesuffix(".tar.gz"), "root", ""))
        names = [each.name for each in archive if not each.isdir()]
    packed = {f"/{name.removeprefix(below)}" for name in names if name.startswith(below)}
    assert len(packed) > 1000
    assert packed - listed == set()
    changeable = _said("rpm", "--query", "--configfiles", "--package", str(rpm)).split()
    assert changeable == ["/etc/sealane/agent.toml"]
    owners = _said("rpm", "-qp", "--queryformat", "[%{FILEUSERNAME} %{FILEGROUPNAME}\n]", str(rpm))
    assert set(owners.splitlines()) == {"root root"}
    needed = _said("rpm", "--query", "--requires", "--package", str(rpm))
    assert "systemd >= 250" in needed
    assert "python" not in needed


@pytest.mark.nightly
def test_an_agent_from_a_tarball_is_installed_upgraded_and_removed(
    fleet: Fleet, models: Models, other: Box, revisions: tuple[Path, Path]
) -> None:
    built, later = revisions
    fleet.give_token(other, "other")
    began = time.monotonic()
    assert "sealane-agent 0.1.0-1 is installed" in install_tarball(other, built)
    fleet.wait_connected(1, *OTHER)
    fleet.clock.say(f"tarball: from install to a session {time.monotonic() - began:.1f} s")
    assert fleet.roll(f"{MODEL}@1", SLOT, *OTHER, "--stages", "100%")["state"] == "succeeded"
    configured = other.root / "etc/sealane/agent.toml"
    configured.write_text('[log]\nform = "json"\n')
    endpoint = other.main_pid("sealane-endpoint")
    with traffic({"other": other}, models.traffic, fleet.folder) as asked:
        assert "agent.toml is kept" in install_tarball(other, later)
        asked.go_on()
    assert asked.bad() == []
    assert other.main_pid("sealane-endpoint") == endpoint
    assert "/0.1.0-2." in other.run("cat", f"/proc/{other.main_pid('sealane-agent')}/cmdline")
    assert configured.read_text() == '[log]\nform = "json"\n'
    for unit in UNITS:
        other.run("systemd-analyze", "security", "--threshold=15", f"{unit}.service")
    other.run("sh", "/usr/share/sealane/sealane-agent/uninstall")
    assert left_behind(other) == set()
    assert (other.root / "var/lib/sealane-agent/identity/device.key").exists()


@pytest.mark.nightly
def test_an_rpm_takes_over_what_the_tarball_left_and_leaves_it_to_the_next(
    fleet: Fleet, models: Models, other: Box, revisions: tuple[Path, Path]
) -> None:
    rpm, newer = (other.copy(next(folder.glob("*.rpm")), "/srv/packages") for folder in revisions)
    # This box has Debian's systemd, of which rpm knows nothing
    other.run("rpm", "--install", "--nodeps", rpm)
    differs = other.try_run("rpm", "--verify", "--nodeps", "sealane-agent").stdout.splitlines()
    assert [line for line in differs if not line.endswith("c /etc/sealane/agent.toml")] == []
    with pytest.raises(BoxError, match="rpm installed it here"):
        install_tarball(other, revisions[1])
    assert eventually("an answer", lambda: serving_release(other)) == "1"
    fleet.wait_connected(1, *OTHER)
    with traffic({"other": other}, models.traffic, fleet.folder) as asked:
        other.run("rpm", "--upgrade", "--nodeps", newer)
        asked.go_on()
    assert asked.bad() == []
    assert "/0.1.0-2." in other.run("cat", f"/proc/{other.main_pid('sealane-agent')}/cmdline")
    other.run("rpm", "--erase", "sealane-agent")
    assert left_behind(other) == set()
    assert (other.root / "var/lib/sealane-agent/identity/device.key").exists()


def install_tarball(box: Box, folder: Path) -> str:
    """Unpack and install it, as its page says; returns what was said."""
    tarball = box.copy(next(folder.glob("*.tar.gz")), "/srv/packages")
    unpacked = tarball.removesuffix(".tar.gz")
    return box.run(
        "sh", "-c", 'tar -xzf "$0" -C /srv/packages && sh "$1/install" 2>&1', tarball, unpacked
    )


def left_behind(box: Box) -> set[str]:
    """What is called after us on a machine, other than state, configuration and their owner."""
    found = (str(path.relative_to(box.root)) for path in box.written("*sealane*"))
    ours = ("var/lib/sealane-agent", "etc/sealane", "srv/", "var/log/", "run/", "tmp/")
    return {path for path in found if not path.startswith(ours)}


def _said(*command: str) -> str:
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
