"""The top-level roles: what is asked for, what is kept, and what is wrong with a file."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from securesystemslib.signer import CryptoSigner
from support.tuf_repository import TOP, Repository, encoded
from tuf.api.metadata import MetaFile

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.tuf_client import Client

pytestmark = pytest.mark.slow

FIRST = [("root", 2), ("timestamp", None), ("snapshot", 1), ("targets", 1)]
EVERY = {"root": 1, "timestamp": 1, "snapshot": 1, "targets": 1}


def test_a_first_refresh_asks_for_each_role_once_and_in_order(
    client: Client, repo: Repository
) -> None:
    assert client.refresh()
    assert repo.asked == FIRST


def test_what_is_kept_is_what_was_delivered_byte_for_byte(client: Client, repo: Repository) -> None:
    repo.put("timestamp", 1, repo.published["timestamp"][1] + b" \n")
    assert client.refresh()
    for role in EVERY:
        assert client.content(role) == repo.published[role][0]


def test_a_second_refresh_without_news_asks_for_a_root_and_the_timestamp(
    client: Client, repo: Repository
) -> None:
    assert client.refresh()
    repo.asked.clear()
    assert client.refresh()
    assert repo.asked == [("root", 2), ("timestamp", None)]


def test_a_download_refreshes_first(client: Client, repo: Repository) -> None:
    assert not client.download("nothing of that name")
    assert repo.asked == FIRST
    assert client.trusted() == EVERY


def test_to_begin_asks_the_repository_for_nothing(client: Client, repo: Repository) -> None:
    assert repo.asked == []
    assert set(client.trusted()) <= {"root"}


def test_a_root_without_a_version_begins_no_trust(
    client_of: Callable[[Repository], Client], repo: Repository
) -> None:
    broken = json.loads(repo.published["root"][1])
    del broken["signed"]["version"]
    client = client_of(repo)
    client.init(json.dumps(broken).encode())
    assert not client.refresh()
    assert repo.asked == []


def test_a_root_with_another_signature_begins_no_trust(
    client_of: Callable[[Repository], Client], repo: Repository
) -> None:
    broken = json.loads(repo.published["root"][1])
    broken["signatures"][0]["sig"] = "00" * 64
    client = client_of(repo)
    client.init(json.dumps(broken).encode())
    assert not client.refresh()
    assert repo.asked == []


UNSIGNED = {
    "root": {"root": 1},
    "timestamp": {"root": 2},
    "snapshot": {"root": 2, "timestamp": 2},
    "targets": {"root": 2, "timestamp": 2, "snapshot": 2},
}


@pytest.mark.parametrize("role", UNSIGNED)
def test_a_role_that_nobody_signed_ends_the_refresh_there(
    client: Client, repo: Repository, role: str
) -> None:
    repo.signers[role] = []
    repo.publish("root", *TOP)
    assert not client.refresh()
    assert client.trusted() == UNSIGNED[role]


@pytest.mark.parametrize("role", ["root", "snapshot", "targets"])
def test_a_version_that_is_not_the_one_in_the_address_is_refused(
    client: Client, repo: Repository, role: str
) -> None:
    for each in ("root", *TOP):
        if each == role:
            repo.signed[each].version += 1
            repo.publish(each, under=2)
        else:
            repo.publish(each)
    if role == "snapshot":
        repo.timestamp.snapshot_meta.version = 2
        repo.publish("timestamp")
    if role == "targets":
        repo.snapshot.meta["targets.json"].version = 2
        repo.publish("snapshot", "timestamp")
    assert not client.refresh()
    assert role == "root" or role not in client.trusted()
    assert client.trusted()["root"] == (1 if role == "root" else 2)


def test_a_timestamp_that_changed_under_its_version_is_not_taken(
    client: Client, repo: Repository
) -> None:
    assert client.refresh()
    repo.timestamp.snapshot_meta.version = 100
    repo.back_to("timestamp", 1)
    repo.asked.clear()
    assert client.refresh()
    assert repo.asked[-1] == ("timestamp", None)
    assert (
        json.loads(client.content("timestamp"))["signed"]["meta"]["snapshot.json"]["version"] == 1
    )


def test_lengths_and_hashes_of_metadata_are_accepted_when_they_fit(
    client: Client, repo: Repository
) -> None:
    repo.hashes = True
    repo.publish(*TOP)
    assert client.refresh()
    assert client.trusted() == EVERY | {"timestamp": 2, "snapshot": 2, "targets": 2}


@pytest.mark.parametrize("named", ["hash", "length"])
@pytest.mark.parametrize("role", ["snapshot", "targets"])
def test_metadata_of_another_hash_or_length_is_refused(
    client: Client, repo: Repository, role: str, named: str
) -> None:
    repo.hashes = True
    assert client.refresh()
    repo.publish("targets")
    meta = repo.snapshot.meta["targets.json"]
    if role == "targets":
        _spoil(meta, named)
    repo.publish("snapshot")
    if role == "snapshot":
        _spoil(repo.timestamp.snapshot_meta, named)
    repo.publish("timestamp")
    assert not client.refresh()
    assert client.trusted()[role] == 1


def _spoil(meta: MetaFile, named: str) -> None:
    if named == "hash":
        meta.hashes = {"sha256": "0" * 64}
    else:
        assert meta.length is not None
        meta.length -= 1


def test_fields_that_nobody_knows_are_signed_and_kept(client: Client, repo: Repository) -> None:
    assert client.refresh()
    signer = CryptoSigner.generate_ed25519()
    signer.public_key.unrecognized_fields["since"] = {"year": 2026}
    repo.root.unrecognized_fields["owner"] = "plant 7"
    repo.root.roles["root"].unrecognized_fields["who"] = ["ada", "grace"]
    repo.add_key("root", signer)
    repo.publish("root")
    assert client.refresh()
    assert client.content("root") == repo.published["root"][2]


@pytest.mark.parametrize(
    ("role", "kept"),
    [
        ("timestamp", {"root": 1, "timestamp": 1, "snapshot": 1, "targets": 1}),
        ("snapshot", {"root": 1, "timestamp": 2, "snapshot": 1, "targets": 1}),
        ("targets", {"root": 1, "timestamp": 2, "snapshot": 2, "targets": 1}),
    ],
)
def test_a_role_that_is_missing_ends_the_refresh_there(
    client: Client, repo: Repository, role: str, kept: dict[str, int]
) -> None:
    assert client.refresh()
    repo.publish(*TOP)
    del repo.published[role]
    assert not client.refresh()
    assert repo.asked[-1] == (role, None if role == "timestamp" else 2)
    assert client.trusted() == kept


@pytest.mark.parametrize(
    ("wanted", "given"),
    [
        ("timestamp", "snapshot"),
        ("snapshot", "targets"),
        ("targets", "snapshot"),
        ("root", "targets"),
    ],
)
def test_well_signed_metadata_of_another_kind_is_refused(
    client: Client, repo: Repository, wanted: str, given: str
) -> None:
    repo.snapshot.meta["snapshot.json"] = MetaFile(1)  # so that it could pass as a timestamp
    signed = repo.signed[given]
    signed.version = 2
    content = encoded(signed, repo.signers[wanted])
    if wanted == "snapshot":
        repo.timestamp.snapshot_meta.version = 2
        repo.publish("timestamp")
    if wanted == "targets":
        repo.snapshot.meta["targets.json"].version = 2
        repo.publish("snapshot", "timestamp")
    repo.put(wanted, 2, content)
    assert not client.refresh()
    assert client.trusted().get(wanted, 1) == 1


@pytest.mark.parametrize("role", ["root", "timestamp", "snapshot", "targets"])
@pytest.mark.parametrize(
    "content", [b"", b"null", b"{", b'{"signed": {}, "signatures": []}', b"\xff\xfe", b"[" * 9999]
)
def test_a_file_of_nonsense_is_refused_without_a_crash(
    client: Client, repo: Repository, role: str, content: bytes
) -> None:
    repo.publish("root", *TOP)
    repo.put(role, 2, content)
    assert not client.refresh()
    assert client.trusted() == UNSIGNED[role]


def test_a_specification_of_another_generation_is_refused(client: Client, repo: Repository) -> None:
    assert client.refresh()
    changed: dict[str, Any] = repo.timestamp.unrecognized_fields
    assert changed == {}
    repo.timestamp.spec_version = "2.0.0"
    repo.publish("timestamp")
    assert not client.refresh()
    assert client.trusted() == EVERY
