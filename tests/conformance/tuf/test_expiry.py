"""What has expired is taken for nothing new, and keeps nobody from what came after it."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import pytest
from support.tuf_repository import TOP, Repository, days
from tuf.api.metadata import DelegatedRole

if TYPE_CHECKING:
    from support.tuf_client import Client

pytestmark = pytest.mark.slow

PLANT = DelegatedRole("plant", [], 1, terminating=False, paths=["plant/*"])

at_another_time = pytest.mark.skipif(
    shutil.which("faketime") is None and os.environ.get("SEALANE_DEBIAN") != "required",
    reason="faketime is not installed: apt-get install faketime",
)


def test_an_expired_root_is_kept_and_ends_the_refresh(client: Client, repo: Repository) -> None:
    assert client.refresh()
    repo.root.expires = days(-1)
    repo.publish("root", *TOP)
    assert not client.refresh()
    assert client.trusted() == {"root": 2, "timestamp": 1, "snapshot": 1, "targets": 1}


def test_an_expired_root_between_two_others_is_no_obstacle(
    client: Client, repo: Repository
) -> None:
    repo.root.expires = days(-1)
    repo.publish("root")
    repo.root.expires = days(30)
    repo.publish("root")
    assert client.refresh()
    assert client.trusted()["root"] == 3


@pytest.mark.parametrize(
    ("role", "kept"),
    [
        ("timestamp", {"root": 1, "timestamp": 1, "snapshot": 1, "targets": 1}),
        ("snapshot", {"root": 1, "timestamp": 2, "snapshot": 1, "targets": 1}),
        ("targets", {"root": 1, "timestamp": 2, "snapshot": 2, "targets": 1}),
    ],
)
def test_an_expired_role_is_not_taken(
    client: Client, repo: Repository, role: str, kept: dict[str, int]
) -> None:
    assert client.refresh()
    repo.signed[role].expires = days(-5)
    repo.publish(*TOP)
    assert not client.refresh()
    assert client.trusted() == kept


@at_another_time
def test_a_root_that_has_expired_here_is_followed_by_the_next(
    client: Client, repo: Repository
) -> None:
    repo.root.expires = days(7)
    repo.publish("root")
    assert client.refresh()
    repo.root.expires = days(21)
    repo.publish("root")
    assert client.refresh(at=days(18))
    assert client.trusted()["root"] == 3


@at_another_time
def test_a_timestamp_that_has_expired_here_is_followed_by_the_next(
    client: Client, repo: Repository
) -> None:
    repo.timestamp.expires = days(7)
    repo.publish("timestamp")
    assert client.refresh()
    repo.timestamp.expires = days(21)
    repo.publish(*TOP)
    assert client.refresh(at=days(18))
    assert client.trusted() == {"root": 1, "timestamp": 3, "snapshot": 2, "targets": 2}


@at_another_time
def test_nothing_new_is_believed_on_a_day_on_which_everything_has_expired(
    client: Client, repo: Repository
) -> None:
    assert client.refresh()
    assert not client.refresh(at=days(31))
    assert repo.asked[-1][0] in ("root", "timestamp")


def test_a_delegated_role_that_has_expired_lists_nothing(client: Client, repo: Repository) -> None:
    repo.delegate("targets", PLANT, expires=days(-1))
    repo.add("plant", "plant/a", b"a")
    repo.publish("plant", *TOP)
    assert client.refresh()
    assert not client.download("plant/a")
    assert client.downloaded() == []
    assert "plant" not in client.trusted()


@at_another_time
def test_a_delegated_role_that_expired_here_lists_nothing_more_until_it_is_renewed(
    client: Client, repo: Repository
) -> None:
    repo.delegate("targets", PLANT, expires=days(7))
    repo.add("plant", "plant/a", b"a")
    repo.add("plant", "plant/b", b"b")
    repo.publish("plant", *TOP)
    assert client.download("plant/a")
    assert not client.download("plant/b", at=days(18))
    repo.targets("plant").expires = days(21)
    repo.publish("plant", *TOP)
    assert client.download("plant/b", at=days(18))
    assert client.downloaded() == [b"a", b"b"]
