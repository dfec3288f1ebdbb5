"""The packages themselves: the same bytes each time, and no address of the machine that built."""

from __future__ import annotations

import filecmp
import subprocess
from typing import TYPE_CHECKING

import pytest
from realworld.conftest import build_elsewhere, build_packages

if TYPE_CHECKING:
    from pathlib import Path

ARM64 = 183
NAMES = ("sealane-agent", "sealane-manager", "sealane-runtime-openvino")


@pytest.fixture(scope="module")
def rebuilt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The packages built once more."""
    return build_elsewhere(tmp_path_factory.mktemp("elsewhere"))


def test_a_second_build_elsewhere_gives_the_same_bytes(
    packages: dict[str, Path], rebuilt: Path
) -> None:
    assert sorted(packages) == sorted(NAMES)
    for path in packages.values():
        assert filecmp.cmp(path, rebuilt / path.name, shallow=False), path.name


@pytest.mark.parametrize("name", NAMES)
def test_a_package_says_what_it_needs_and_holds_nothing_of_the_builder(
    packages: dict[str, Path], name: str
) -> None:
    control = _said("dpkg-deb", "--field", str(packages[name]))
    assert "python3 (>= 3.11~), python3 (<< 3.12)" in control
    listed = _said("dpkg-deb", "--contents", str(packages[name]))
    owners = {line.split()[1] for line in listed.splitlines()}
    assert owners == {"root/root"}
    leftovers = ("direct_url.json", "/RECORD", ".pyc", "openvino_telemetry")
    assert [word for word in leftovers if word in listed] == []
    size = int(control.partition("Installed-Size: ")[2].split()[0]) / 1024
    packed = packages[name].stat().st_size / 1024**2
    print(f"  {name}: {packed:.1f} MiB packed, {size:.0f} MiB installed")  # noqa: T201 - for who reads the run


def test_the_agent_for_arm64_holds_no_library_for_another_machine(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp("arm64")
    arguments = ("sealane-agent", "--suite", "deb13", "--arch", "arm64")
    package = build_packages(folder, *arguments)["sealane-agent"]
    _said("dpkg-deb", "--raw-extract", str(package), str(folder / "tree"))
    libraries = [path for path in (folder / "tree").rglob("*.so*") if path.is_file()]
    assert len(libraries) > 20
    assert {_machine(path) for path in libraries} == {ARM64}


def _machine(library: Path) -> int:
    """Which processor an ELF file is for."""
    with library.open("rb") as file:
        head = file.read(20)
    assert head[:4] == b"\x7fELF", library.name
    return int.from_bytes(head[18:20], "little")


def _said(*command: str) -> str:
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
