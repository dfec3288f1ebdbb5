"""Where the device's profile of TUF is narrower than the specification, on purpose.

`docs/security.md` names each of these with its reason.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from sealane import limits
from support.tuf_repository import TOP, Repository

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.tuf_client import Client

pytestmark = pytest.mark.slow


def test_a_target_without_a_sha256_is_refused(client: Client, repo: Repository) -> None:
    repo.add("targets", "model", b"model", ("sha512",))
    repo.publish(*TOP)
    assert not client.download("model")
    assert repo.fetched == []


def test_a_target_without_its_hash_in_its_address_is_not_asked_for(
    client_of: Callable[[Repository], Client],
) -> None:
    repo = Repository(consistent=False)
    repo.add("targets", "model", b"model")
    repo.publish(*TOP)
    digest = repo.targets().targets["model"].hashes["sha256"]
    del repo.artifacts[f"{digest}.model"]
    client = client_of(repo)
    assert client.init()
    assert not client.download("model")
    assert repo.fetched == [f"{digest}.model"]


@pytest.mark.parametrize("more", [0, 1])
def test_a_target_beyond_the_limit_of_a_manifest_is_refused(
    client: Client, repo: Repository, more: int
) -> None:
    repo.add("targets", "model", bytes(limits.TARGETS_BYTES + more))
    repo.publish(*TOP)
    assert client.download("model") is (more == 0)


LIMITS = {
    "root": limits.ROOT_BYTES,
    "timestamp": limits.TIMESTAMP_BYTES,
    "snapshot": limits.SNAPSHOT_BYTES,
    "targets": limits.TARGETS_BYTES,
}


@pytest.mark.parametrize("role", LIMITS)
@pytest.mark.parametrize("more", [0, 1])
def test_metadata_beyond_its_limit_is_refused(
    client: Client, repo: Repository, role: str, more: int
) -> None:
    repo.publish("root", *TOP)
    content = repo.published[role][2]
    repo.put(role, 2, content + b" " * (LIMITS[role] + more - len(content)))
    assert client.refresh() is (more == 0)
    assert (client.trusted().get(role, 1) == 2) is (more == 0)
