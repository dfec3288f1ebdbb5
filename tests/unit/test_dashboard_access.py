"""Who may do what, for how long, and how slowly passwords can be guessed."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sealane.errors import InvalidName
from sealane_manager.dashboard.csrf import PAD_BYTES, is_token, make_token
from sealane_manager.errors import NotAllowed, Refused
from sealane_manager.people import access
from sealane_manager.people.access import Act, Grant, Role, Who
from sealane_manager.people.accounts import Accounts, Failures
from sealane_manager.store.records import By
from support.dashboard import PASSWORD, WEAK_HASHER
from support.rollouts import START, FakeClock
from support.stores import a_store

if TYPE_CHECKING:
    from collections.abc import Iterator

SECOND = timedelta(seconds=1)
BY = By("ada", "", START)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(START)


@pytest.fixture
def accounts(clock: FakeClock) -> Iterator[Accounts]:
    with a_store() as store:
        accounts = Accounts(store.accounts, clock, WEAK_HASHER)
        accounts.add_user("ada", Grant(Role.ADMIN), PASSWORD, "test")
        yield accounts


OPERATORS = {
    *(Act.LOOK, Act.START, Act.STEER, Act.LABEL, Act.TEND),
    *(Act.QUARANTINE, Act.HOLD, Act.KILL),
}


@pytest.mark.parametrize(
    ("role", "allowed"),
    [
        (Role.VIEWER, {Act.LOOK, Act.AUDIT}),
        (
            Role.OPERATOR,
            {
                Act.LOOK,
                Act.AUDIT,
                Act.SUBMIT,
                Act.CARRY,
                Act.START,
                Act.STEER,
                Act.LABEL,
                Act.TEND,
                Act.QUARANTINE,
                Act.HOLD,
                Act.KILL,
            },
        ),
        (Role.APPROVER, set(Act) - {Act.ADMINISTER, Act.DECLARE}),
        (Role.ADMIN, set(Act)),
    ],
)
def test_a_role_may_do_what_it_needs_and_no_more(role: Role, allowed: set[Act]) -> None:
    assert {act for act in Act if Who("x", role).may(act)} == allowed


def test_who_may_not_is_told_whom_to_ask() -> None:
    with pytest.raises(NotAllowed, match="may not revoke a device") as refused:
        Who("eve", Role.VIEWER).check(Act.REVOKE)
    assert refused.value.hint == "ask somebody with the role approver"


@pytest.mark.parametrize("name", ["controller", "device", "Ada", "a b", "", "x" * 65])
def test_a_user_cannot_be_called_what_the_log_or_a_path_would_misread(name: str) -> None:
    with pytest.raises(InvalidName):
        access.parse_user(name)


@pytest.mark.parametrize("password", ["", "elevenchars", "x" * 1025])
def test_a_password_that_is_too_short_or_too_long_is_refused(password: str) -> None:
    with pytest.raises(InvalidName):
        access.check_password(password)


@given(st.lists(st.integers(0, 3600), max_size=30).map(sorted))
def test_nobody_waits_before_the_fifth_failure_or_longer_than_a_quarter_hour(
    seconds: list[int],
) -> None:
    failures = [START + each * SECOND for each in seconds]
    now = failures[-1] if failures else START
    until = access.wait_until(failures, now)
    recent = [each for each in failures if now - each < access.LONGEST_WAIT]
    assert now <= until <= now + access.LONGEST_WAIT
    assert (until > now) == (len(recent) >= access.FREE_TRIES)


def test_a_session_opens_with_the_right_password_and_ends_when_it_is_left(
    accounts: Accounts,
) -> None:
    secret = accounts.log_in("ada", PASSWORD, "10.0.0.1")
    assert accounts.who(secret) == Who("ada", Role.ADMIN)
    accounts.log_out(secret)
    assert accounts.who(secret) is None


@pytest.mark.parametrize("name", ["ada", "nobody"])
def test_a_wrong_password_and_a_wrong_name_are_told_the_same(accounts: Accounts, name: str) -> None:
    with pytest.raises(NotAllowed, match="the name or the password is wrong"):
        accounts.log_in(name, "something else", "10.0.0.1")


def test_guessing_waits_and_others_do_not(accounts: Accounts, clock: FakeClock) -> None:
    for _ in range(access.FREE_TRIES):
        with pytest.raises(NotAllowed, match="is wrong"):
            accounts.log_in("ada", "something else", "10.0.0.1")
    with pytest.raises(NotAllowed, match="wrong passwords"):
        accounts.log_in("ada", PASSWORD, "10.0.0.1")
    assert accounts.log_in("ada", PASSWORD, "10.0.0.2")
    clock.advance(access.LONGEST_WAIT)
    assert accounts.log_in("ada", PASSWORD, "10.0.0.1")


def test_failures_take_no_memory_without_end() -> None:
    failures = Failures()
    for number in range(11_000):
        failures.add((f"from {number}",), START)
    assert len(failures._moments) == 10_000


def test_a_session_that_nobody_uses_ends(accounts: Accounts, clock: FakeClock) -> None:
    secret = accounts.log_in("ada", PASSWORD, "10.0.0.1")
    clock.advance(access.SESSION_IDLE - SECOND)
    assert accounts.who(secret)
    clock.advance(access.SESSION_IDLE - SECOND)
    assert accounts.who(secret)
    clock.advance(access.SESSION_IDLE + SECOND)
    assert accounts.who(secret) is None
    assert accounts.prune(clock.now()) == 1


def test_a_session_ends_after_a_day_however_busy(accounts: Accounts, clock: FakeClock) -> None:
    secret = accounts.log_in("ada", PASSWORD, "10.0.0.1")
    for _ in range(24):
        clock.advance(timedelta(hours=1))
        assert accounts.who(secret)
    clock.advance(SECOND)
    assert accounts.who(secret) is None


def test_another_role_counts_at_once(accounts: Accounts) -> None:
    accounts.add_user("bob", Grant(Role.ADMIN), PASSWORD, "test")
    secret = accounts.log_in("bob", PASSWORD, "10.0.0.1")
    accounts.kept.set_grant("bob", Grant(Role.VIEWER), BY)
    assert accounts.who(secret) == Who("bob", Role.VIEWER)


def test_a_new_password_ends_every_session(accounts: Accounts) -> None:
    secret = accounts.log_in("ada", PASSWORD, "10.0.0.1")
    accounts.set_password("ada", "quite another one", "ada")
    assert accounts.who(secret) is None
    assert accounts.log_in("ada", "quite another one", "10.0.0.1")


def test_a_removed_user_is_out_at_once(accounts: Accounts) -> None:
    accounts.add_user("bob", Grant(Role.VIEWER), PASSWORD, "test")
    secret = accounts.log_in("bob", PASSWORD, "10.0.0.1")
    accounts.kept.remove_user("bob", BY)
    assert accounts.who(secret) is None


def test_the_only_admin_stays_admin(accounts: Accounts) -> None:
    with pytest.raises(Refused, match="the only admin"):
        accounts.kept.remove_user("ada", BY)
    with pytest.raises(Refused, match="the only admin"):
        accounts.kept.set_grant("ada", Grant(Role.VIEWER), BY)


def test_a_token_opens_the_api_until_it_ends(accounts: Accounts, clock: FakeClock) -> None:
    secret = accounts.issue_token("grafana", Grant(Role.VIEWER), 30, "ada")
    who = accounts.bearer(secret)
    assert who
    assert who.role is Role.VIEWER
    assert accounts.bearer(secret + "x") is None
    assert accounts.bearer("") is None
    clock.advance(timedelta(days=30))
    assert accounts.bearer(secret) is None


def test_no_secret_is_stored_as_it_is(accounts: Accounts) -> None:
    secret = accounts.log_in("ada", PASSWORD, "10.0.0.1")
    token = accounts.issue_token("grafana", Grant(Role.VIEWER), 30, "ada")
    with accounts.kept._database.read() as session:
        connection = session.connection().connection.dbapi_connection
        assert connection is not None
        dump = "\n".join(connection.iterdump())
    assert PASSWORD not in dump
    assert secret not in dump
    assert token not in dump


@given(st.text(min_size=1, max_size=60), st.binary(min_size=PAD_BYTES, max_size=PAD_BYTES))
def test_a_form_token_belongs_to_its_session_alone(secret: str, pad: bytes) -> None:
    token = make_token(secret, pad)
    assert is_token(secret, token)
    assert not is_token(secret + "x", token)
    assert not is_token("", token)


@given(st.text(max_size=200))
def test_any_other_text_is_no_form_token(text: str) -> None:
    assert not is_token("secret", text)
