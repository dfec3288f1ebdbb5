"""What the manager tells whoever keeps it running."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest
from fastapi import FastAPI
from sealane_manager.dashboard.health import Health
from starlette.testclient import TestClient
from support.dashboard import a_dashboard

if TYPE_CHECKING:
    from collections.abc import Callable


def client_of(read_store: Callable[[], object], answer_s: float = 5) -> TestClient:
    app = FastAPI()
    Health(read_store, answer_s).add_to(app)
    return TestClient(app)


def test_a_manager_whose_store_answers_is_alive_and_ready_without_a_login() -> None:
    with a_dashboard() as dashboard:
        browser = dashboard.browser()
        for path, said in (("/health/live", "alive\n"), ("/health/ready", "ready\n")):
            assert (browser.get(path).status_code, browser.text(path)) == (200, said)


def test_a_manager_whose_store_fails_is_alive_and_not_ready() -> None:
    def fails() -> None:
        raise OSError("disk gone")

    client = client_of(fails)
    answer = client.get("/health/ready")
    assert (answer.status_code, answer.text) == (503, "the store does not answer\n")
    assert client.get("/health/live").status_code == 200


def test_a_store_that_hangs_is_not_waited_for() -> None:
    never = threading.Event()
    client = client_of(lambda: never.wait(0.1), answer_s=0.01)
    assert client.get("/health/ready").status_code == 503


@pytest.mark.parametrize("path", ["/health", "/health/", "/health/store"])
def test_nothing_else_is_told(path: str) -> None:
    assert client_of(list).get(path).status_code == 404
