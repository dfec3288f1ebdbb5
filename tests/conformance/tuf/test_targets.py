"""Targets: the bytes that are listed and no others, once; their sizes, hashes and paths."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.tuf_repository import TOP, Repository

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.tuf_client import Client

pytestmark = pytest.mark.slow


def _listed(repo: Repository, path: str, content: bytes) -> None:
    repo.add("targets", path, content)
    repo.publish(*TOP)


@pytest.mark.parametrize("path", ["model.txt", "a/b/c/model.txt", "vision/defect@7.json", "a b ü"])
def test_a_target_is_fetched_as_it_is_listed(client: Client, repo: Repository, path: str) -> None:
    _listed(repo, path, b"bytes of a model")
    assert client.refresh()
    assert client.downloaded() == []
    assert client.download(path)
    assert client.downloaded() == [b"bytes of a model"]


@pytest.mark.parametrize("path", ["../model", "/model", "..", "a/../../model", "a//b"])
def test_a_target_of_any_path_stays_in_its_folder(
    client: Client, repo: Repository, path: str
) -> None:
    _listed(repo, path, b"model")
    client.download(path)
    outside = {each.name for each in client.folder.iterdir()}
    assert outside == {"metadata", "targets", "trusted.json"}


@pytest.mark.parametrize("content", [b"", b"x", b"x" * 1_000_000], ids=["none", "one", "a million"])
def test_a_target_of_any_size_is_fetched(client: Client, repo: Repository, content: bytes) -> None:
    _listed(repo, "model", content)
    assert client.download("model")
    assert client.downloaded() == [content]


@pytest.mark.parametrize("other", [b"other bytes of it", b"bytes", b"bytes of a model, and more"])
def test_other_bytes_than_the_listed_ones_are_not_kept(
    client: Client, repo: Repository, other: bytes
) -> None:
    _listed(repo, "model", b"bytes of a model")
    repo.deliver("model", other)
    assert not client.download("model")
    assert client.downloaded() == []


def test_a_target_that_is_listed_and_not_there_is_no_success(
    client: Client, repo: Repository
) -> None:
    _listed(repo, "model", b"model")
    repo.artifacts.clear()
    assert not client.download("model")


def test_a_target_that_is_here_is_not_fetched_again(client: Client, repo: Repository) -> None:
    _listed(repo, "model", b"model")
    assert client.download("model")
    assert client.download("model")
    assert len(repo.fetched) == 1


def test_a_target_that_was_exchanged_on_the_server_replaces_nothing(
    client: Client, repo: Repository
) -> None:
    _listed(repo, "one", b"the first")
    _listed(repo, "two", b"the second")
    assert client.download("one")
    repo.deliver("one", b"malicious")
    repo.deliver("two", b"malicious")
    client.download("one")
    assert not client.download("two")
    assert client.downloaded() == [b"the first"]


def test_each_new_version_of_a_target_replaces_the_former_one(
    client: Client, repo: Repository
) -> None:
    for number in range(9):
        content = f"version {number}".encode()
        _listed(repo, "model", content)
        if number % 4 == 0:
            assert client.download("model")
            assert client.downloaded() == [content]
            repo.deliver("model", b"malicious")
            repo.publish(*TOP)
            client.download("model")
            assert client.downloaded() == [content]


def test_a_target_that_is_not_listed_any_more_is_not_had(client: Client, repo: Repository) -> None:
    _listed(repo, "model", b"model")
    assert client.download("model")
    del repo.targets().targets["model"]
    repo.publish(*TOP)
    assert not client.download("model")


@pytest.mark.parametrize("hashes", [("sha256",), ("sha256", "sha512")])
def test_a_target_is_asked_for_by_its_sha256(
    client: Client, repo: Repository, hashes: tuple[str, ...]
) -> None:
    repo.add("targets", "a/model", b"model", hashes)
    digest = repo.targets().targets["a/model"].hashes["sha256"]
    repo.publish(*TOP)
    assert client.download("a/model")
    assert repo.fetched == [f"a/{digest}.model"]


def test_every_hash_that_is_listed_must_fit(client: Client, repo: Repository) -> None:
    repo.add("targets", "model", b"model", ("sha256", "sha512"))
    repo.targets().targets["model"].hashes["sha512"] = "0" * 128
    repo.publish(*TOP)
    assert not client.download("model")
    assert client.downloaded() == []


def test_a_hash_that_nobody_knows_proves_nothing(client: Client, repo: Repository) -> None:
    repo.add("targets", "model", b"model")
    hashes = repo.targets().targets["model"].hashes
    hashes["tea-leaves"] = hashes.pop("sha256")
    repo.publish(*TOP)
    assert not client.download("model")
    assert client.downloaded() == []


def test_metadata_without_versions_in_its_addresses_is_followed(
    client_of: Callable[[Repository], Client],
) -> None:
    repo = Repository(consistent=False)
    client = client_of(repo)
    assert client.init()
    repo.publish(*TOP)
    assert client.refresh()
    assert client.trusted() == {"root": 1, "timestamp": 2, "snapshot": 2, "targets": 2}
    assert repo.asked[1:] == [("timestamp", None), ("snapshot", None), ("targets", None)]
