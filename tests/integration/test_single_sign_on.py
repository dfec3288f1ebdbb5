"""Logging in with an identity provider: from the button to a session with the group's role."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey
from sealane_manager.dashboard.web import Web
from sealane_manager.errors import Refused
from sealane_manager.people.access import Grant, Role
from sealane_manager.people.sign_on import SignOn, load
from sealane_manager.people.sso import parse_settings
from sealane_manager.store.summaries import AuditFilter
from starlette.testclient import TestClient
from support.dashboard import ADDRESS, Browser, a_dashboard
from support.identity_provider import CLIENT, IdentityProvider, an_identity_provider

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from httpx2 import Response
    from support.dashboard import Dashboard


@pytest.fixture
def dashboard() -> Iterator[Dashboard]:
    with a_dashboard() as dashboard:
        yield dashboard


@pytest.fixture
def provider(dashboard: Dashboard) -> Iterator[IdentityProvider]:
    with an_identity_provider(dashboard.clock) as provider:
        yield provider


@pytest.fixture
def browser(dashboard: Dashboard, provider: IdentityProvider) -> Browser:
    """A browser before a dashboard that knows the provider."""
    offices = dashboard.offices
    sign_on = SignOn(parse_settings(provider.settings()), offices.accounts, offices.clock)
    web = Web(replace(offices, sign_on=sign_on))
    return Browser(TestClient(web.app, base_url=ADDRESS, follow_redirects=False))


def come_in(browser: Browser, provider: IdentityProvider, onward: str = "/") -> Response:
    """Press the button, log in at the provider, and come back."""
    left = browser.get(f"/sso?next={onward}")
    assert left.status_code == 303
    back = urlsplit(provider.log_in(left.headers["location"]))
    return browser.get(f"{back.path}?{back.query}")


def test_the_button_stands_on_the_page_when_a_provider_is_set_up(
    browser: Browser, dashboard: Dashboard
) -> None:
    assert "Log in with Example ID" in browser.text("/login")
    assert "Log in with Example" not in dashboard.browser().text("/login")


def test_a_member_of_a_group_comes_in_with_its_role(
    browser: Browser, provider: IdentityProvider, dashboard: Dashboard
) -> None:
    answer = come_in(browser, provider, "/devices")
    assert (answer.status_code, answer.headers["location"]) == (303, "/devices")
    assert "sso:ada" in browser.text("/devices")
    (user,) = dashboard.store.accounts.users()
    assert (user.name, user.grant, user.local) == ("sso:ada", Grant(Role.OPERATOR), False)
    asked = provider.asked[0]
    assert (asked["client_id"], asked["code_challenge_method"]) == (CLIENT, "S256")
    assert asked["redirect_uri"] == f"{ADDRESS}/sso/callback"
    assert asked["scope"].split()[0] == "openid"


def test_another_group_is_another_role_from_the_next_log_in_on(
    browser: Browser, provider: IdentityProvider, dashboard: Dashboard
) -> None:
    come_in(browser, provider)
    provider.groups = ["operators", "berlin-approvers"]
    come_in(browser, provider)
    (user,) = dashboard.store.accounts.users()
    assert user.grant == Grant(Role.APPROVER, frozenset({"berlin"}))
    (line,) = dashboard.store.audit.lines(AuditFilter(action="change user"))
    assert line.detail == "user sso:ada from operator to approver at berlin"


def test_nobody_comes_in_by_password_under_a_providers_name(
    browser: Browser, provider: IdentityProvider
) -> None:
    come_in(browser, provider)
    for password in ("", "x" * 12):
        assert browser.log_in("sso:ada", password).status_code == 403


def test_a_provider_that_changed_its_key_is_asked_again(
    browser: Browser, provider: IdentityProvider
) -> None:
    come_in(browser, provider)
    provider.key = ECKey.generate_key("P-256", {"kid": "k2"})
    provider.sign = lambda claims: jwt.encode({"alg": "ES256", "kid": "k2"}, claims, provider.key)
    assert come_in(browser, provider).status_code == 303


def test_a_provider_that_is_away_is_told_on_the_page(
    dashboard: Dashboard, provider: IdentityProvider
) -> None:
    settings = parse_settings(provider.settings(issuer="http://127.0.0.1:9"))
    sign_on = SignOn(settings, dashboard.offices.accounts, dashboard.clock)
    web = Web(replace(dashboard.offices, sign_on=sign_on))
    browser = Browser(TestClient(web.app, base_url=ADDRESS, follow_redirects=False))
    answer = browser.get("/sso")
    assert answer.status_code == 403
    assert "the identity provider cannot be asked" in answer.text


def test_settings_are_read_once_and_mistakes_are_named(
    tmp_path: Path, provider: IdentityProvider
) -> None:
    path = tmp_path / "sso.json"
    assert load(path) is None
    path.write_text(json.dumps(provider.settings()))
    assert load(path) == parse_settings(provider.settings())
    for wrong in ("{", "[]", json.dumps(provider.settings(issuer="http://id.example"))):
        path.write_text(wrong)
        with pytest.raises(Refused, match=r"sso\.json"):
            load(path)
