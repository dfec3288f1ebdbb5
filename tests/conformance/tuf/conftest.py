"""A repository that is served, and the client under test."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.tuf_client import Client, launcher
from support.tuf_repository import Repository, serving

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from support.tuf_client import Launcher
    from support.tuf_repository import Server


@pytest.fixture(scope="session")
def launch() -> Iterator[Launcher]:
    with launcher() as found:
        yield found


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    with serving() as found:
        yield found


@pytest.fixture
def client_of(tmp_path: Path, server: Server, launch: Launcher) -> Callable[[Repository], Client]:
    """A client that trusts nothing yet, of this repository."""
    return lambda repository: Client(launch, tmp_path, server.add(repository), repository)


@pytest.fixture
def repo() -> Repository:
    return Repository()


@pytest.fixture
def client(client_of: Callable[[Repository], Client], repo: Repository) -> Client:
    """A client that has begun with the first root."""
    found = client_of(repo)
    assert found.init()
    return found
