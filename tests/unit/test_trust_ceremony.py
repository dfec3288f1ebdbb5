"""Beginning a fleet: all of it or nothing, never over another."""

from __future__ import annotations

import hashlib
import json
import stat
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from sealane.errors import InvalidName, SealaneError
from sealane.trust.director import director_role
from sealane.trust.identity import load_certificate, peer_of
from sealane.trust.verifier import MetadataMissing, Verifier
from sealane_manager.director import Director, next_version
from sealane_manager.errors import NotKnown, Refused
from sealane_manager.identity.ca import Issuer
from sealane_manager.layout import StateFolder
from sealane_manager.repository import Repository
from sealane_manager.trust.ceremony import add_family, init_development
from sealane_manager.trust.describe import differences
from sealane_manager.trust.overview import roles_of
from sealane_manager.trust.settings import FleetSettings
from support.trust import DEVICE, FACTS, START, ManualClock, Simulator
from tuf.api.metadata import Metadata, Root, Targets

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def state(tmp_path: Path) -> StateFolder:
    folder = StateFolder(tmp_path / "state")
    init_development(folder, "acme", ["manager.example", "127.0.0.1"], ["digits"])
    return folder


def test_a_new_fleet_has_settings_keys_roles_and_an_operator(state: StateFolder) -> None:
    settings = FleetSettings.load(state.settings)
    assert settings == FleetSettings("acme", ("manager.example", "127.0.0.1"), development=True)
    repository = Repository(state.tuf, state.keys)
    assert [view.role for view in roles_of(repository.current)] == [
        "root",
        "targets",
        "snapshot",
        "timestamp",
        "director",
        "digits",
    ]
    operator = load_certificate((state.operator / "operator.pem").read_bytes())
    assert peer_of(operator).name == "admin"
    assert json.loads((state.operator / "context.json").read_bytes()) == {
        "address": "",
        "fleet": "acme",
    }
    assert (state.operator / "ca.pem").read_bytes() == Issuer(state.ca).certificate


def test_every_role_has_a_key_of_its_own(state: StateFolder) -> None:
    keys = [
        key for view in roles_of(Repository(state.tuf, state.keys).current) for key in view.keys
    ]
    assert len(set(keys)) == len(keys) == 6


def test_nobody_else_may_read_the_state(state: StateFolder) -> None:
    assert stat.S_IMODE(state.root.stat().st_mode) == 0o700
    for path in state.keys.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_the_director_stands_in_the_root_and_in_no_other_role(state: StateFolder) -> None:
    root = Metadata[Root].from_bytes(Repository(state.tuf, state.keys).current("root")).signed
    delegations = director_role(root).delegations
    assert delegations is not None
    (keyid,) = delegations.keys
    assert all(keyid not in role.keyids for role in root.roles.values())


def test_a_fleet_is_never_overwritten(state: StateFolder) -> None:
    before = (state.tuf / "1.root.json").read_bytes()
    with pytest.raises(Refused, match="not empty"):
        init_development(state, "other", ["localhost"], [])
    assert (state.tuf / "1.root.json").read_bytes() == before


@pytest.mark.parametrize("before", ["no folder", "an empty folder"])
@pytest.mark.parametrize(
    "wish",
    [
        ("ac/me", ["localhost"], []),
        ("acme", [], []),
        ("acme", ["local host"], []),
        ("acme", [""], []),
        ("acme", ["localhost"], ["root"]),
        ("acme", ["localhost"], ["Vision"]),
        ("acme", ["localhost"], ["digits", "digits"]),
    ],
)
def test_an_init_that_fails_leaves_nothing(
    tmp_path: Path, before: str, wish: tuple[str, list[str], list[str]]
) -> None:
    root = tmp_path / "state"
    if before == "an empty folder":
        root.mkdir()
    with pytest.raises((InvalidName, Refused)):
        init_development(StateFolder(root), *wish)
    assert list(tmp_path.rglob("*")) == ([root] if before == "an empty folder" else [])


def test_an_init_builds_in_a_folder_that_exists_and_is_empty(tmp_path: Path) -> None:
    (tmp_path / ".init").mkdir()
    (tmp_path / ".init" / "left-over").touch()
    init_development(StateFolder(tmp_path), "acme", ["localhost"], [])
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "ca",
        "fleet.json",
        "keys",
        "operator",
        "tuf",
    ]


def test_a_family_is_added_once(state: StateFolder) -> None:
    add_family(state, Repository(state.tuf, state.keys), "vision")
    with pytest.raises(Refused, match="exists already"):
        add_family(state, Repository(state.tuf, state.keys), "vision")


def test_settings_that_are_gone_or_damaged_say_so(tmp_path: Path) -> None:
    with pytest.raises(SealaneError) as caught:
        FleetSettings.load(tmp_path / "fleet.json")
    assert "sealane init" in caught.value.hint
    (tmp_path / "fleet.json").write_text("{}")
    with pytest.raises(SealaneError, match="damaged"):
        FleetSettings.load(tmp_path / "fleet.json")


def test_directors_versions_grow_over_restarts_and_restored_backups() -> None:
    now = int(START.timestamp())
    assert next_version(0, START) == now
    assert next_version(now, START) == now + 1
    assert next_version(now + 500, START) == now + 501
    assert next_version(5, START) == now


class _Served:
    """The manager's repository, as a device asks for its files."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository

    def fetch(self, name: str, limit: int) -> Iterator[bytes]:
        assert limit > 0
        try:
            yield self._repository.read(name)
        except NotKnown as error:
            raise MetadataMissing(name) from error


def test_a_device_accepts_what_a_new_fleets_director_signs(
    state: StateFolder, tmp_path: Path
) -> None:
    repository = Repository(state.tuf, state.keys)
    root = repository.current("root")
    Verifier.bootstrap(tmp_path / "device", root, hashlib.sha256(root).digest())
    verifier = Verifier(tmp_path / "device", _Served(repository), DEVICE, ManualClock())
    nonce = verifier.new_nonce()
    wanted = replace(
        Simulator().document([], nonce, log=""),
        root_version=repository.versions()[0],
        snapshot_version=repository.versions()[1],
    )
    signed = Director(lambda: repository.online_signer("director")).sign(wanted)
    assert verifier.accept(signed, nonce, FACTS).document == wanted


def test_a_family_that_begins_is_not_called_an_older_one_renewed() -> None:
    family = Metadata(Targets())
    assert differences("digits", family, None)[0] == "it begins, and approves nothing"
    assert differences("digits", family, family)[0] == "nothing is different but its age"
