"""Selectors: which devices are meant."""

from __future__ import annotations

import pytest
from sealane.errors import InvalidName
from sealane_manager.selector import MAX_TERMS, matches, parse

BERLIN = {"site": "berlin", "line": "2", "gpu": "yes"}
PARIS = {"site": "paris", "line": "3"}
BARE: dict[str, str] = {}


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("", [BERLIN, PARIS, BARE]),
        ("  ", [BERLIN, PARIS, BARE]),
        ("site=berlin", [BERLIN]),
        ("site==berlin", [BERLIN]),
        ("site in (berlin,paris)", [BERLIN, PARIS]),
        ("site notin (berlin)", [PARIS, BARE]),
        ("line!=3", [BERLIN, BARE]),
        ("gpu", [BERLIN]),
        ("!gpu", [PARIS, BARE]),
        ("site in ( berlin , paris ) , line!=3", [BERLIN]),
        ("site,!gpu", [PARIS]),
    ],
)
def test_a_selector_means_these_devices(text: str, meant: list[dict[str, str]]) -> None:
    assert [each for each in (BERLIN, PARIS, BARE) if matches(parse(text), each)] == meant


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("site berlin", 6),
        ("site=", 6),
        ("site in berlin", 9),
        ("site in (berlin", 16),
        ("site in ()", 10),
        ("gpu,,old", 5),
        ("gpu,", 5),
        ("(gpu)", 1),
        ("gpu ∧ old", 5),
        ("!", 2),
    ],
)
def test_a_malformed_selector_says_at_which_character(text: str, place: int) -> None:
    with pytest.raises(InvalidName, match=f"at character {place}:"):
        parse(text)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("device=edge-1", True),
        ("device!=edge-1", False),
        ("device in (edge-1,edge-2), site=berlin", True),
        ("device notin (edge-2)", True),
        ("device", True),
        ("!device", False),
    ],
)
def test_a_device_can_be_meant_by_its_name(text: str, meant: bool) -> None:  # noqa: FBT001 - pytest passes parameters by name
    assert matches(parse(text), BERLIN, "edge-1") is meant


def test_a_label_outside_its_grammar_is_refused() -> None:
    with pytest.raises(InvalidName, match="'Site' is not a label name"):
        parse("Site=berlin")


def test_an_enormous_selector_is_refused() -> None:
    with pytest.raises(InvalidName, match="at most 4096 characters"):
        parse("a" * 5000)


def test_too_many_terms_are_refused() -> None:
    with pytest.raises(InvalidName, match="at most 64 terms"):
        parse(",".join(f"k{number}" for number in range(MAX_TERMS + 1)))


def test_too_many_values_are_refused() -> None:
    values = ",".join(f"v{number}" for number in range(MAX_TERMS + 1))
    with pytest.raises(InvalidName, match="at most 64 values"):
        parse(f"site in ({values})")
