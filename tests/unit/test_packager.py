"""What goes into a package, by the lock and by nothing else."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest
from packager.lock import NotLocked, choose, pins
from packager.rpm import SCRIPTS
from packager.scripts import filled
from packager.site import fingerprint
from packager.stage import Build, Stage
from packager.targets import PACKAGES, target
from support.repository import ROOT

if TYPE_CHECKING:
    from pathlib import Path

    from packager.targets import Package

PACKAGING = ROOT / "packaging"

LOCK = """\
numpy==2.4.6 ; python_full_version < '3.12' \\
    --hash=sha256:aa \\
    --hash=sha256:ab
    # via
    #   onnxruntime
numpy==2.5.5 ; python_full_version >= '3.12' \\
    --hash=sha256:ba
tuf==7.0.1 \\
    --hash=sha256:ca
    # via sealane
"""


def test_only_what_is_wanted_is_chosen_with_every_hash() -> None:
    assert choose(LOCK, {"numpy": "2.4.6"}) == (
        "numpy==2.4.6 \\\n    --hash=sha256:aa \\\n    --hash=sha256:ab\n"
    )


def test_of_two_locked_versions_the_one_of_the_targets_python_is_chosen() -> None:
    assert "sha256:ba" in choose(LOCK, {"numpy": "2.5.5"})


def test_what_is_left_out_is_left_out() -> None:
    assert choose(LOCK, {"numpy": "2.4.6", "tuf": "7.0.1"}, without=("numpy",)) == (
        "tuf==7.0.1 \\\n    --hash=sha256:ca\n"
    )


@pytest.mark.parametrize("wanted", [{"numpy": "2.4.7"}, {"left-pad": "1"}])
def test_what_is_not_locked_is_refused(wanted: dict[str, str]) -> None:
    with pytest.raises(NotLocked, match="scripts/lock"):
        choose(LOCK, wanted)


def test_pins_are_read_from_what_the_resolver_prints() -> None:
    printed = "-e file:///somewhere/core\ncffi==2.1.1\nuvicorn[standard]==0.54.0\n"
    assert pins(printed) == {"cffi": "2.1.1", "uvicorn": "0.54.0"}


def test_a_target_bounds_the_python_that_its_packages_are_for() -> None:
    bookworm, trixie = target("deb12", "amd64"), target("deb13", "arm64")
    assert (bookworm.python, bookworm.next_python) == ("3.11", "3.12")
    assert (trixie.python, trixie.wheels) == ("3.13", "aarch64-manylinux_2_36")


def test_no_package_carries_what_phones_home() -> None:
    assert "openvino-telemetry" in PACKAGES["sealane-runtime-openvino"].without


def test_the_fingerprint_follows_names_and_bytes(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("one")
    first = fingerprint(tmp_path)
    assert fingerprint(tmp_path) == first
    (tmp_path / "a").write_text("two")
    second = fingerprint(tmp_path)
    (tmp_path / "a").rename(tmp_path / "b")
    assert len({first, second, fingerprint(tmp_path)}) == 3


def test_a_package_for_any_linux_takes_its_python_along() -> None:
    anywhere = target("linux", "arm64")
    assert anywhere.own_python
    assert (anywhere.python, anywhere.machine) == (target("deb12", "arm64").python, "aarch64")
    assert not target("deb13", "amd64").own_python


@pytest.mark.parametrize("package", PACKAGES.values(), ids=PACKAGES)
def test_every_package_has_the_functions_that_its_tarball_and_its_rpm_call(
    package: Package,
) -> None:
    hooks = (PACKAGING / "other" / f"{package.name}.sh").read_text()
    wanted = {call.rpartition(" ")[2] for call in SCRIPTS.values()} | {"purge"}
    assert {name for name in wanted if f"\n{name}() " not in hooks} == set()


def test_what_packages_run_is_filled_in_and_a_shell_can_read_it(tmp_path: Path) -> None:
    agent = PACKAGES["sealane-agent"]
    home = tmp_path / agent.home / "0.1.0-1.12345678"
    stage = Stage(Build(agent, target("linux", "amd64"), "0.1.0-1", 0), tmp_path, home)
    for name in ("install", "uninstall", "sealane-agent.sh"):
        text = filled(PACKAGING / "other" / name, stage)
        assert "@" not in text.replace('"$@"', "")
        assert "# include" not in text
        subprocess.run(["sh", "-n"], input=text.encode(), check=True)  # noqa: S607 - any shell
    assert "new=/usr/lib/sealane-agent/0.1.0-1.12345678\n" in text
