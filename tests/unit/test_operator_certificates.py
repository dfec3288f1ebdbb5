"""Whose certificate counts: those that are listed, and for a while those from before."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from sealane_manager.errors import NotAllowed, NotKnown, Refused
from sealane_manager.people.access import Grant, Role, Who
from sealane_manager.people.certificates import Certificates
from sealane_manager.store.records import By, OperatorCertificate, User
from sealane_manager.store.tables.people import UnlistedRow
from support.rollouts import START, FakeClock
from support.stores import ADA, a_store

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sealane_manager.store.store import Store

YEAR = timedelta(days=365)
BERLIN = Grant(Role.OPERATOR, frozenset({"berlin"}))


@pytest.fixture
def store() -> Iterator[Store]:
    with a_store() as store:
        yield store


@pytest.fixture
def certificates(store: Store) -> Certificates:
    return Certificates(store.certificates, FakeClock(START))


def a_certificate(
    user: str, key: str = "aa", issued: timedelta = timedelta()
) -> OperatorCertificate:
    return OperatorCertificate(key, user, START + issued, "ada", START + YEAR)


def upgraded(store: Store, before: timedelta = timedelta()) -> None:
    """As a fleet is that had operators when certificates were not listed yet."""
    with store._database.write() as session:
        session.add(UnlistedRow(before=START + before))


def test_a_listed_certificate_is_its_users_with_the_role_of_now(
    store: Store, certificates: Certificates
) -> None:
    store.certificates.issue(a_certificate("bob"), BERLIN, ADA)
    assert certificates.who(a_certificate("bob")) == Who("bob", Role.OPERATOR, BERLIN.sites)
    store.accounts.set_grant("bob", Grant(Role.VIEWER), ADA)
    assert certificates.who(a_certificate("bob")) == Who("bob", Role.VIEWER)


def test_a_user_of_the_dashboard_keeps_his_role_and_no_certificate_gives_another(
    store: Store,
) -> None:
    store.accounts.add_user(User("bob", BERLIN, "hash", START), ADA)
    with pytest.raises(Refused, match="bob is operator at berlin"):
        store.certificates.issue(a_certificate("bob"), Grant(Role.ADMIN), ADA)
    store.certificates.issue(a_certificate("bob"), None, ADA)
    assert store.accounts.user("bob") == User("bob", BERLIN, "hash", START)


def test_a_new_name_needs_a_role(store: Store) -> None:
    with pytest.raises(NotKnown, match="no user bob") as caught:
        store.certificates.issue(a_certificate("bob"), None, ADA)
    assert "--role" in caught.value.hint


def test_a_revoked_certificate_is_refused_and_its_key_is_never_certified_again(
    store: Store, certificates: Certificates
) -> None:
    store.certificates.issue(a_certificate("bob"), BERLIN, ADA)
    store.certificates.issue(a_certificate("bob", "bb"), BERLIN, ADA)
    assert store.certificates.revoke("bob", "aa", ADA) == 1
    with pytest.raises(NotAllowed, match="was revoked"):
        certificates.who(a_certificate("bob"))
    assert certificates.who(a_certificate("bob", "bb")).name == "bob"
    with pytest.raises(Refused, match="was revoked"):
        store.certificates.issue(a_certificate("bob"), BERLIN, ADA)
    with pytest.raises(NotKnown):
        store.certificates.revoke("bob", "aa", ADA)


def test_a_removed_users_certificates_are_refused_also_when_somebody_gets_the_name(
    store: Store, certificates: Certificates
) -> None:
    upgraded(store, timedelta(days=1))
    store.certificates.issue(a_certificate("bob"), BERLIN, ADA)
    store.accounts.remove_user("bob", ADA)
    with pytest.raises(NotAllowed, match="was revoked"):
        certificates.who(a_certificate("bob"))
    store.accounts.add_user(User("bob", Grant(Role.ADMIN), "hash", START), ADA)
    with pytest.raises(NotAllowed, match="was revoked"):
        certificates.who(a_certificate("bob"))


def test_a_key_is_one_persons(store: Store, certificates: Certificates) -> None:
    store.certificates.issue(a_certificate("bob"), BERLIN, ADA)
    with pytest.raises(Refused, match="this key is bob's"):
        store.certificates.issue(a_certificate("eve"), BERLIN, ADA)
    with pytest.raises(NotAllowed, match="nobody's"):
        certificates.who(a_certificate("eve"))


def test_what_nobody_listed_is_refused_in_a_new_fleet(certificates: Certificates) -> None:
    with pytest.raises(NotAllowed, match="operator bob is not known here") as caught:
        certificates.who(a_certificate("bob"))
    assert "sealane operator issue" in caught.value.hint


def test_operators_from_before_certificates_were_listed_stay_administrators(
    store: Store, certificates: Certificates
) -> None:
    upgraded(store)
    old = a_certificate("bob", issued=-timedelta(days=30))
    assert certificates.who(old) == Who("bob", Role.ADMIN)
    assert store.certificates.held("aa")
    with pytest.raises(NotAllowed, match="not known here"):
        certificates.who(a_certificate("eve", "bb", timedelta(seconds=1)))


def test_one_from_before_who_is_a_user_of_the_dashboard_has_that_role(
    store: Store, certificates: Certificates
) -> None:
    upgraded(store)
    store.accounts.add_user(User("bob", BERLIN, "hash", START), ADA)
    old = a_certificate("bob", issued=-timedelta(days=30))
    assert certificates.who(old) == Who("bob", Role.OPERATOR, BERLIN.sites)


def test_nobody_from_before_comes_in_once_it_is_settled(
    store: Store, certificates: Certificates
) -> None:
    upgraded(store)
    seen = a_certificate("bob", issued=-timedelta(days=30))
    certificates.who(seen)
    assert store.certificates.settle(ADA)
    assert not store.certificates.settle(ADA)
    assert certificates.who(seen).name == "bob"
    with pytest.raises(NotAllowed):
        certificates.who(a_certificate("eve", "bb", -timedelta(days=30)))


def test_no_operator_from_before_is_called_like_an_actor_of_the_log(
    store: Store, certificates: Certificates
) -> None:
    upgraded(store)
    with pytest.raises(NotAllowed):
        certificates.who(a_certificate("controller", issued=-timedelta(days=30)))


def test_the_log_says_who_was_let_in_and_who_was_not_any_more(store: Store) -> None:
    store.certificates.issue(a_certificate("bob"), BERLIN, By("ada", "new in the team", START))
    store.certificates.revoke("bob", "", By("ada", "left", START))
    said = [(each.actor, each.action, each.detail) for each in store.decisions.of("")]
    assert said == [
        ("ada", "add user", "user bob as operator at berlin: new in the team"),
        (
            "ada",
            "list certificate",
            "key aa of operator bob, operator at berlin, until 2027-03-01: new in the team",
        ),
        ("ada", "revoke certificate", "key aa of operator bob: left"),
    ]
