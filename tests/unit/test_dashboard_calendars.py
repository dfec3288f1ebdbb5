"""The page of calendars: what is open now, when the others open, which rollouts keep to each."""

from __future__ import annotations

import re
from datetime import date, timedelta
from typing import TYPE_CHECKING

import pytest
from sealane_manager.calendars import Calendar
from sealane_manager.dashboard.calendar_lines import DAYS_SHOWN, calendar_lines
from sealane_manager.people.access import Role
from sealane_manager.rollout.terms import Freeze, Terms, Times
from support.dashboard import a_dashboard
from support.rollouts import START
from support.stores import ADA, enrol, start

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.dashboard import Browser, Dashboard

PAGE = "/rollouts/calendars"
TODAY = START.date()


def frozen(name: str, selector: str) -> Calendar:
    """Closed from yesterday to tomorrow."""
    day = timedelta(days=1)
    return Calendar(name, selector, freezes=(Freeze(TODAY - day, TODAY + day),))


def keeping_to(*names: str) -> Terms:
    return Terms(times=Times(calendars=names))


@pytest.fixture
def dashboard() -> Iterator[Dashboard]:
    with a_dashboard() as dashboard:
        enrol(dashboard.store, "edge-1", site="berlin")
        enrol(dashboard.store, "edge-2", site="paris")
        yield dashboard


def row(browser: Browser, name: str) -> str:
    """The row of a calendar, without its markup."""
    found = re.search(rf'<tr id="{name}">.*?</tr>', browser.text(PAGE), re.DOTALL)
    assert found, f"no row {name}"
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", found[0]))


def test_without_calendars_it_says_that_rollouts_give_places_at_any_time(
    dashboard: Dashboard,
) -> None:
    assert "rollouts give places at any time" in dashboard.browser("ada").text(PAGE)


def test_a_closed_calendar_says_why_and_when_it_opens(dashboard: Dashboard) -> None:
    dashboard.store.calendars.put(frozen("berlin", "site=berlin"), ADA)
    dashboard.store.calendars.put(Calendar("paris", "site=paris"), ADA)
    browser = dashboard.browser("ada")

    opens = TODAY + timedelta(days=2)
    assert "closed freeze" in row(browser, "berlin")
    assert f"opens {opens:%a %d %b %Y}, 00:00" in row(browser, "berlin")
    assert " open " in row(browser, "paris")
    assert 'href="/devices?selector=site%3Dberlin"' in browser.text(PAGE)


def test_a_calendar_names_the_rollouts_that_keep_to_it_and_are_not_over(
    dashboard: Dashboard,
) -> None:
    store = dashboard.store
    for name, selector in (("berlin", "site=berlin"), ("paris", "site=paris")):
        store.calendars.put(frozen(name, selector), ADA)
    start(store, "r-named", selector="site=berlin", terms=keeping_to("berlin"))
    start(store, "r-every", selector="site=paris", terms=keeping_to("all"))
    browser = dashboard.browser("ada")

    assert "r-named" in row(browser, "berlin")
    assert "r-every" in row(browser, "berlin")
    assert "r-named" not in row(browser, "paris")
    assert "r-every" in row(browser, "paris")


def test_who_is_bound_to_a_site_sees_no_rollout_of_another(dashboard: Dashboard) -> None:
    dashboard.store.calendars.put(frozen("every", ""), ADA)
    for site in ("berlin", "paris"):
        start(dashboard.store, f"r-{site}", selector=f"site={site}", terms=keeping_to("all"))
    bob = dashboard.browser("bob", Role.VIEWER, "berlin")

    assert "r-berlin" in row(bob, "every")
    assert "r-paris" not in row(bob, "every")


def test_freezes_that_are_over_are_not_told_and_many_are_counted() -> None:
    freezes = tuple(
        Freeze(date(TODAY.year + year, 1, 1), date(TODAY.year + year, 1, 2))
        for year in range(-3, DAYS_SHOWN + 3)
    )
    days = [f"{month:02}-01" for month in range(1, 13)]
    (line,) = calendar_lines([Calendar("c", freezes=freezes, holidays=tuple(days))], (), START)

    told, every_year = line.days[: DAYS_SHOWN + 1], line.days[DAYS_SHOWN + 1 :]
    assert all(int(day[:4]) >= TODAY.year for day in told[:-1])
    assert told[-1].endswith(" more")
    assert every_year == (*(f"each {day}" for day in days[:DAYS_SHOWN]), "8 more")
