"""What is installed is read as the standard library reads it."""

from __future__ import annotations

from importlib.metadata import distributions, entry_points
from typing import TYPE_CHECKING, Final

from sealane_agent.packages import Offer, installed_version, offers

if TYPE_CHECKING:
    from pathlib import Path

GROUP: Final = "sealane.tests"


def installed(path: Path, name: str, metadata: str, points: str = "") -> None:
    folder = path / f"{name}.dist-info"
    folder.mkdir(parents=True)
    (folder / "METADATA").write_text(metadata)
    if points:
        (folder / "entry_points.txt").write_text(points)


def test_every_installed_package_has_the_version_that_the_standard_library_reads() -> None:
    expected: dict[str, str] = {}
    for found in distributions():
        expected.setdefault(found.name, found.version)
    assert len(expected) > 10
    assert {name: installed_version(name) for name in expected} == expected


def test_every_group_has_the_entry_points_that_the_standard_library_reads() -> None:
    for group in ("sealane.runtimes", "console_scripts", "pytest11"):
        expected = {(each.name, each.value) for each in entry_points(group=group)}
        assert expected
        assert {(each.name, each.place) for each in offers(group)} == expected


def test_a_name_is_found_however_it_is_written() -> None:
    assert installed_version("Sealane_Agent") == installed_version("sealane-agent") is not None


def test_a_package_that_is_not_there_has_no_version() -> None:
    assert installed_version("no-such-package") is None


def test_what_comes_first_on_the_path_counts(tmp_path: Path) -> None:
    for place, version in (("near", "2"), ("far", "1")):
        installed(tmp_path / place, f"thing-{version}", f"Name: thing\nVersion: {version}\n\n")
    assert installed_version("thing", [str(tmp_path / "near"), str(tmp_path / "far")]) == "2"


def test_other_groups_comments_and_extras_are_passed_over(tmp_path: Path) -> None:
    points = f"[other]\na = x:y\n[{GROUP}]\n# b = c:d\n\nmine = thing.engine : Engine [all]\n"
    installed(tmp_path, "thing-1.0", "Version: 1.0\n\nVersion: 9\n", points.replace(" : ", ":"))
    assert offers(GROUP, [str(tmp_path)]) == (Offer("mine", "thing.engine:Engine", "1.0"),)


def test_a_package_without_readable_metadata_has_the_version_of_its_folder(tmp_path: Path) -> None:
    (tmp_path / "thing-3.1.dist-info").mkdir()
    installed(tmp_path, "other-4.0", "\nVersion: in the description\n")
    assert installed_version("thing", [str(tmp_path)]) == "3.1"
    assert installed_version("other", [str(tmp_path)]) == "4.0"
