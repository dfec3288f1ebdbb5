"""The door of single sign-on: what is wrong in one part is refused, and nobody sent elsewhere."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from sealane_manager.dashboard.front import SESSION_COOKIE
from sealane_manager.dashboard.web import Web
from sealane_manager.people.sign_on import PATIENCE, SignOn
from sealane_manager.people.sso import parse_settings
from starlette.testclient import TestClient
from support.dashboard import ADDRESS, Browser, a_dashboard
from support.identity_provider import (
    IdentityProvider,
    an_identity_provider,
    signed_by_stranger,
    signed_with_public_key,
    unsigned,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from httpx2 import Response
    from support.dashboard import Dashboard

HOUR = 3600


@pytest.fixture
def dashboard() -> Iterator[Dashboard]:
    with a_dashboard() as dashboard:
        yield dashboard


@pytest.fixture
def provider(dashboard: Dashboard) -> Iterator[IdentityProvider]:
    with an_identity_provider(dashboard.clock) as provider:
        yield provider


@pytest.fixture
def web(dashboard: Dashboard, provider: IdentityProvider) -> Web:
    offices = dashboard.offices
    settings = parse_settings(provider.settings())
    return Web(replace(offices, sign_on=SignOn(settings, offices.accounts, offices.clock)))


def a_browser(web: Web) -> Browser:
    return Browser(TestClient(web.app, base_url=ADDRESS, follow_redirects=False))


def leave(browser: Browser, provider: IdentityProvider, onward: str = "/") -> dict[str, str]:
    """Log in at the provider; returns what its answer carries."""
    left = browser.get("/sso?" + urlencode({"next": onward}))
    back = provider.log_in(left.headers["location"])
    return {name: found[0] for name, found in parse_qs(urlsplit(back).query).items()}


def come_back(browser: Browser, answer: dict[str, str]) -> Response:
    return browser.get("/sso/callback?" + urlencode(answer))


def assert_outside(browser: Browser, answer: Response) -> None:
    """No session was opened, and the page says so without giving a thing away."""
    assert answer.status_code == 403
    assert f"{SESSION_COOKIE}=" not in answer.headers.get("set-cookie", "")
    assert 'role="alert"' in answer.text
    assert browser.get("/").status_code == 303


def test_without_an_attack_the_same_steps_lead_in(web: Web, provider: IdentityProvider) -> None:
    browser = a_browser(web)
    assert come_back(browser, leave(browser, provider)).status_code == 303
    assert browser.get("/").status_code == 200


def test_a_state_that_nobody_began_is_refused(web: Web, provider: IdentityProvider) -> None:
    browser = a_browser(web)
    answer = leave(browser, provider)
    for state in ("", "made-up", answer["state"] + "x"):
        assert_outside(browser, come_back(browser, {**answer, "state": state}))


def test_a_log_in_that_began_in_another_browser_is_refused(
    web: Web, provider: IdentityProvider
) -> None:
    attacker, victim = a_browser(web), a_browser(web)
    victim.get("/login")
    assert_outside(victim, come_back(victim, leave(attacker, provider)))


def test_an_answer_works_once(web: Web, provider: IdentityProvider) -> None:
    browser = a_browser(web)
    answer = leave(browser, provider)
    assert come_back(browser, answer).status_code == 303
    again = a_browser(web)
    again.client.cookies = browser.client.cookies
    again.client.cookies.delete(SESSION_COOKIE)
    assert_outside(again, come_back(again, answer))


def test_an_answer_that_comes_too_late_is_refused(
    web: Web, provider: IdentityProvider, dashboard: Dashboard
) -> None:
    browser = a_browser(web)
    answer = leave(browser, provider)
    dashboard.clock.advance(PATIENCE + timedelta(seconds=1))
    assert_outside(browser, come_back(browser, answer))


def test_a_code_of_another_log_in_does_not_fit_the_verifier(
    web: Web, provider: IdentityProvider
) -> None:
    victim, attacker = a_browser(web), a_browser(web)
    stolen = leave(victim, provider)["code"]
    assert_outside(attacker, come_back(attacker, {**leave(attacker, provider), "code": stolen}))
    assert provider.refused == ["invalid_grant"]


@pytest.mark.parametrize(
    "claims",
    [
        {"nonce": "another"},
        {"aud": "another-client"},
        {"aud": ["sealane", "another-client"], "azp": "another-client"},
        {"iss": "https://another.example"},
        {"exp": 0},
        {"exp": "tomorrow"},
        {"iat": 2**40},
        {"nbf": 2**40},
        {"preferred_username": "ada\nadmin"},
        {"preferred_username": ["ada"]},
        {"preferred_username": "a" * 500},
        {"groups": ["nobody-knows-it"]},
        {"groups": {"operators": True}},
        {"groups": None},
    ],
)
def test_a_token_with_a_wrong_claim_is_refused(
    web: Web, provider: IdentityProvider, claims: dict[str, Any]
) -> None:
    provider.claims = claims
    browser = a_browser(web)
    assert_outside(browser, come_back(browser, leave(browser, provider)))


@pytest.mark.parametrize("claim", ["nonce", "aud", "iss", "exp", "iat", "sub", "groups"])
def test_a_token_without_a_claim_is_refused(
    web: Web, provider: IdentityProvider, claim: str
) -> None:
    provider.drop = (claim,)
    browser = a_browser(web)
    assert_outside(browser, come_back(browser, leave(browser, provider)))


def test_a_token_that_ran_out_is_refused(
    web: Web, provider: IdentityProvider, dashboard: Dashboard
) -> None:
    now = int(dashboard.clock.now().timestamp())
    provider.claims = {"iat": now - 2 * HOUR, "exp": now - HOUR}
    browser = a_browser(web)
    assert_outside(browser, come_back(browser, leave(browser, provider)))


def test_a_token_with_another_signature_is_refused(web: Web, provider: IdentityProvider) -> None:
    public = signed_with_public_key(provider)
    for sign in (unsigned, public, signed_by_stranger, lambda _: "not.a.token", lambda _: ""):
        provider.sign = sign
        browser = a_browser(web)
        assert_outside(browser, come_back(browser, leave(browser, provider)))


def test_a_provider_that_calls_itself_otherwise_is_not_believed(
    web: Web, provider: IdentityProvider
) -> None:
    provider.says_issuer = "https://another.example"
    answer = a_browser(web).get("/sso")
    assert answer.status_code == 403
    assert "location" not in answer.headers


@pytest.mark.parametrize(
    "onward",
    ["https://evil.example/", "//evil.example", "/\\evil.example", "javascript:alert(1)", "evil"],
)
def test_nobody_is_sent_to_another_site(web: Web, provider: IdentityProvider, onward: str) -> None:
    browser = a_browser(web)
    assert come_back(browser, leave(browser, provider, onward)).headers["location"] == "/"


def test_the_provider_sends_browsers_to_the_set_address_whatever_host_they_name(
    web: Web,
) -> None:
    left = a_browser(web).get("/sso", host="evil.example").headers["location"]
    asked = parse_qs(urlsplit(left).query)
    assert asked["redirect_uri"] == [f"{ADDRESS}/sso/callback"]
