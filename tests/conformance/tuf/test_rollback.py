"""No version goes back, unless new keys say that the old ones jumped ahead."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest
from support.tuf_repository import TOP

if TYPE_CHECKING:
    from support.tuf_client import Client
    from support.tuf_repository import Repository

pytestmark = pytest.mark.slow

hashed = pytest.mark.parametrize("hashes", [False, True], ids=["versions", "versions and hashes"])


def test_an_older_timestamp_is_refused(client: Client, repo: Repository) -> None:
    repo.publish("timestamp")
    assert client.refresh()
    repo.back_to("timestamp", 1)
    assert not client.refresh()
    assert client.trusted()["timestamp"] == 2
    assert repo.asked[-1] == ("timestamp", None)


@hashed
def test_an_older_snapshot_is_refused_at_the_timestamp_that_names_it(
    client: Client, repo: Repository, *, hashes: bool
) -> None:
    repo.hashes = hashes
    repo.publish("snapshot", "timestamp")
    assert client.refresh()
    repo.back_to("snapshot", 1)
    repo.publish("timestamp")
    assert not client.refresh()
    assert (client.trusted()["timestamp"], client.trusted()["snapshot"]) == (2, 2)
    assert repo.asked[-1] == ("timestamp", None)


@hashed
def test_older_targets_are_refused_at_the_snapshot_that_names_them(
    client: Client, repo: Repository, *, hashes: bool
) -> None:
    repo.hashes = hashes
    repo.publish(*TOP)
    assert client.refresh()
    repo.back_to("targets", 1)
    repo.publish("snapshot", "timestamp")
    assert not client.refresh()
    assert (client.trusted()["snapshot"], client.trusted()["targets"]) == (2, 2)


def test_targets_that_a_snapshot_does_not_name_any_more_are_missed(
    client: Client, repo: Repository
) -> None:
    assert client.refresh()
    repo.snapshot.meta.clear()
    repo.publish("snapshot", "timestamp")
    assert not client.refresh()
    assert client.trusted()["snapshot"] == 1


def test_a_snapshot_that_the_timestamp_does_not_name_yet_is_not_asked_for(
    client: Client, repo: Repository
) -> None:
    assert client.refresh()
    repo.publish("snapshot")
    repo.timestamp.snapshot_meta.version -= 1
    repo.publish("timestamp")
    repo.asked.clear()
    assert client.refresh()
    assert repo.asked == [("root", 2), ("timestamp", None)]
    assert client.trusted()["snapshot"] == 1


@pytest.mark.parametrize("role", ["timestamp", "snapshot", "targets"])
def test_a_version_that_jumped_ahead_is_undone_by_new_keys(
    client: Client, repo: Repository, role: str
) -> None:
    repo.signed[role].version = 2**31
    repo.publish(*TOP[TOP.index(role) :])
    assert client.refresh()
    assert client.trusted()[role] > 2**31
    # What stands above a role remembers its version, so its keys go too.
    rotated = {"timestamp": ["timestamp"], "snapshot": ["snapshot", "timestamp"]}
    repo.rotate(*rotated.get(role, ["snapshot", "timestamp"]))
    repo.publish("root")
    repo.back_to(role, 1)
    repo.publish(*TOP[TOP.index(role) + 1 :])
    assert client.refresh()
    assert client.trusted()[role] == 1


def test_a_version_that_jumped_ahead_stays_under_the_same_keys(
    client: Client, repo: Repository
) -> None:
    repo.timestamp.version = 2**31
    repo.publish("timestamp")
    assert client.refresh()
    repo.publish("root")
    repo.back_to("timestamp", 1)
    assert not client.refresh()


def test_what_was_seen_is_remembered_without_the_files(client: Client, repo: Repository) -> None:
    repo.publish(*TOP)
    assert client.refresh()
    _forget(client)
    repo.back_to("timestamp", 1)
    assert not client.refresh()


def test_a_root_that_was_seen_is_remembered_without_the_files(
    client: Client, repo: Repository
) -> None:
    repo.publish("root")
    assert client.refresh()
    _forget(client)
    del repo.published["root"][2]
    assert not client.refresh()


def _forget(client: Client) -> None:
    """What a power cut may leave of files that nobody synced."""
    for path in client.metadata.glob("*.json"):
        path.unlink()
    shutil.rmtree(client.metadata / "root_history")
