"""A manager that takes only bundles that a producer signed whom it was told of."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING

import pytest
from sealane.bundle.layout import read_layout
from sealane.clock import SystemClock
from sealane.names import ReleaseName
from sealane_manager.cli.main import app
from sealane_manager.errors import Refused
from sealane_manager.intake import Intake
from sealane_manager.parts import ManagerSettings
from sealane_manager.publishing import Publishing
from sealane_manager.store.summaries import AuditFilter, AuditLine
from sealane_manager.trust.changes import Offer, Outcome
from sealane_manager.trust.keys import key_path, load_signer
from sealane_manager.trust.office import LocalDesk, Premises, local_publishing
from sealane_manager.trust.releases import with_release
from sealane_manager.trust.submission import ListedRelease
from support.bundles import tiny_bundle
from support.manager import FAMILY, RunningManager, make_state, managing
from support.signed import ACME, RIVAL, known, public, signed_bundle
from typer.testing import CliRunner

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric import ec
    from sealane_manager.store.records import DecisionRecord


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the manager looks for the keys of producers."""
    return tmp_path_factory.mktemp("producers")


@pytest.fixture(scope="module")
def manager(tmp_path_factory: pytest.TempPathFactory, folder: Path) -> Iterator[RunningManager]:
    settings = ManagerSettings(
        make_state(tmp_path_factory.mktemp("manager")),
        fleet_port=0,
        enrol_port=0,
        operator_port=0,
        dashboard_port=0,
        producers=folder,
    )
    with managing(settings) as running:
        yield running


@pytest.fixture
def producers(folder: Path) -> Path:
    """The keys of who may sign: acme, for every family."""
    for path in folder.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    (folder / "acme.pem").write_bytes(public(ACME))
    return folder


VERSIONS = count(1)


def refused(manager: RunningManager, layout: Path, says: str) -> None:
    """The bundle does not come in, its author is told why, and so is whoever reads the log."""
    version = next(VERSIONS)
    with pytest.raises(Refused, match=says) as caught:
        manager.publish_layout(layout, version)
    assert len(str(caught.value).splitlines()) == 1
    assert not listed(manager, version)
    (line,) = logged(manager, "refuse", version)
    assert line.actor == "admin"
    assert line.evidence == read_layout(layout).digest.removeprefix("sha256:")


def taken(manager: RunningManager, layout: Path) -> AuditLine:
    """The bundle comes in; the line in the log that says by whose key."""
    version = next(VERSIONS)
    manager.publish_layout(layout, version)
    assert listed(manager, version)
    assert logged(manager, "refuse", version) == []
    (line,) = logged(manager, "accept", version)
    return line


def listed(manager: RunningManager, version: int) -> bool:
    with manager.operator() as operator:
        return version in {release.name.version for release in operator.list_releases()}


def logged(manager: RunningManager, action: str, version: int) -> list[AuditLine]:
    """Lines of the audit log with this action about a release."""
    with manager.operator() as operator:
        return [*operator.audit.lines(AuditFilter(text=f"tiny@{version}:", action=action))]


@pytest.mark.parametrize("name", ["missing", "acme.pem"])
def test_a_manager_does_not_start_with_a_folder_of_producers_that_is_none(
    name: str, producers: Path, tmp_path: Path
) -> None:
    named = ("--intake-producers", str(producers / name))
    done = CliRunner().invoke(app, ["serve", str(tmp_path / "no-fleet"), *named])
    assert done.exit_code == 3
    assert f"error: there is no folder {producers / name}, where producers' keys" in done.stderr
    assert "correct intake.producers" in done.stderr


@pytest.mark.usefixtures("producers")
def test_a_bundle_that_its_producer_signed_comes_in_and_the_log_says_by_whom(
    manager: RunningManager, tmp_path: Path
) -> None:
    line = taken(manager, signed_bundle(tmp_path / "signed"))
    assert line.detail.endswith(f": signed by acme.pem, key {known(ACME).hint}")


@pytest.mark.usefixtures("producers")
def test_a_bundle_that_nobody_signed_stays_outside(manager: RunningManager, tmp_path: Path) -> None:
    refused(manager, tiny_bundle(tmp_path / "bundle"), r"no model\.sig, and one by acme\.pem")


@pytest.mark.usefixtures("producers")
def test_a_bundle_that_somebody_else_signed_stays_outside(
    manager: RunningManager, tmp_path: Path
) -> None:
    refused(manager, signed_bundle(tmp_path / "b", RIVAL), r"was not made by acme\.pem")


def test_a_family_with_keys_of_its_own_takes_no_others(
    manager: RunningManager, producers: Path, tmp_path: Path
) -> None:
    (producers / "demo").mkdir()
    (producers / "demo" / "rival.pem").write_bytes(public(RIVAL))
    refused(manager, signed_bundle(tmp_path / "acme"), r"was not made by rival\.pem")
    assert "signed by rival.pem" in taken(manager, signed_bundle(tmp_path / "r", RIVAL)).detail


@pytest.mark.parametrize("content", [None, b"no key", public(ACME)[:60]])
def test_keys_that_are_gone_or_damaged_let_nothing_in(
    content: bytes | None, manager: RunningManager, producers: Path, tmp_path: Path
) -> None:
    if content is None:
        (producers / "acme.pem").unlink()
    else:
        (producers / "acme.pem").write_bytes(content)
    refused(manager, signed_bundle(tmp_path / "signed"), "comes from no producer")


def test_a_key_that_is_a_broken_link_lets_nothing_in_and_says_where_to_look(
    manager: RunningManager, producers: Path, tmp_path: Path
) -> None:
    (producers / "other.pem").symlink_to(tmp_path / "nothing.pem")
    refused(manager, signed_bundle(tmp_path / "signed"), "keys of producers cannot be read")


def test_the_managers_own_machine_asks_for_the_same_signatures(
    producers: Path, tmp_path: Path
) -> None:
    state, layout = make_state(tmp_path), tiny_bundle(tmp_path / "bundle")
    manifest = read_layout(layout)
    blobs = layout / "blobs" / "sha256"
    shutil.copytree(blobs, state.blob(manifest.digest).parent, dirs_exist_ok=True)
    with local_publishing(Premises(state, producers)) as (publishing, _):
        signer = load_signer(key_path(state.keys, FAMILY))
        name = ReleaseName("demo/tiny", 1)
        metadata = with_release(publishing.current(FAMILY), name, manifest, (), {}, signer)
        with pytest.raises(Refused, match="no producer"):
            LocalDesk(publishing, "somebody").submit(Offer(FAMILY, metadata))
        assert publishing.releases() == ()


class Shelf:
    """A repository that lists what a submission published."""

    begun = True

    def __init__(self) -> None:
        self.listed: list[ListedRelease] = []

    def releases(self) -> list[ListedRelease]:
        return self.listed


@dataclass
class Waiting:
    """Changes of two roles, published together when the second one is signed."""

    shelf: Shelf
    release: ListedRelease

    def submit(self, _offer: Offer, _actor: str) -> Outcome:
        self.shelf.listed = [self.release]
        return Outcome(("targets", self.release.name.family), 7)


@dataclass
class Bundle:
    """The blobs of one bundle."""

    layout: Path

    def content(self, digest: str, _most: int) -> bytes:
        return (self.layout / "blobs" / "sha256" / digest.removeprefix("sha256:")).read_bytes()

    def missing(self, _digests: object) -> tuple[str, ...]:
        return ()


@pytest.mark.parametrize(("key", "said"), [(ACME, "accept"), (RIVAL, "refuse")])
def test_a_release_that_comes_in_with_another_roles_submission_is_in_the_log(
    producers: Path, tmp_path: Path, key: ec.EllipticCurvePrivateKey, said: str
) -> None:
    layout = signed_bundle(tmp_path / "bundle", key)
    told: list[DecisionRecord] = []
    manifest = read_layout(layout)
    name = ReleaseName("demo/tiny", 1)
    shelf, blobs = Shelf(), Bundle(layout)
    release = ListedRelease(name, manifest.digest, 1, ("cam",), {}, 1)
    intake = Intake(producers, blobs, told.append, SystemClock())  # type: ignore[arg-type]  # of blobs it asks this
    waiting = Waiting(shelf, release)
    publishing = Publishing(shelf, blobs, waiting, intake)  # type: ignore[arg-type]  # stand-ins
    publishing.submit(Offer("targets", b"{}"), "ada")
    assert [(each.actor, each.action) for each in told] == [("ada", said)]
