"""What the address of a page asks for, and how values are written."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sealane_manager.dashboard import query, words
from support.rollouts import START


@pytest.mark.parametrize(
    ("before", "asked", "typed_on"),
    [
        ("https://m/devices", {"q": "pa"}, False),
        ("https://m/devices?q=pa", {"q": "paris"}, True),
        ("https://m/devices?q=paris", {"q": ""}, False),
        ("https://m/devices?q=pa", {"q": "pa", "site": "berlin"}, False),
        ("https://m/devices?q=pa&site=berlin", {"q": "par", "site": "berlin", "status": ""}, True),
        ("https://m/devices?selector=a", {"selector": "a,b"}, True),
        ("https://m/devices?q=pa", {"q": "pa"}, True),
        ("nonsense", {"q": "pa"}, False),
    ],
)
def test_typing_on_is_one_step_back_and_every_other_filter_its_own(
    before: str,
    asked: dict[str, str],
    typed_on: bool,  # noqa: FBT001 - a column of the table
) -> None:
    assert query.types_on(before, asked) == typed_on


@given(st.dictionaries(st.sampled_from(["q", "page", "size", "sort", "status"]), st.text()))
def test_any_address_gives_a_page_within_limits(asked: dict[str, str]) -> None:
    page = query.page(asked)
    assert 1 <= page.number <= query.MAX_PAGE
    assert page.size in query.PAGE_SIZES
    assert len(query.device_filter(asked).text) <= query.VALUE_CHARS


def test_an_address_leaves_out_what_is_empty() -> None:
    assert query.address("/devices", {"q": " ", "site": "a b"}, page=2) == (
        "/devices?site=a+b&page=2"
    )
    assert query.address("/devices", {"page": "2"}, page="") == "/devices"


@given(st.text())
def test_going_on_never_leaves_this_site(path: str) -> None:
    onward = query.inside(path)
    assert onward.startswith("/")
    assert not onward.startswith(("//", "/\\"))
    assert onward.isprintable()


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-5, "0 s"), (59, "59 s"), (60, "1 min"), (7200, "2 h"), (86400 * 12, "12 d")],
)
def test_how_long_ago_is_one_unit(seconds: int, text: str) -> None:
    assert words.ago(START - timedelta(seconds=seconds), START) == text


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (2**50, "1024.0 TiB")]
)
def test_sizes_have_the_largest_fitting_unit(count: int, text: str) -> None:
    assert words.size(count) == text


def test_counts_and_digests_are_readable() -> None:
    assert words.plural(1, "device") == "1 device"
    assert words.plural(12000, "device") == "12,000 devices"
    assert words.short("sha256:" + "a" * 64) == "sha256:aaaaaaaaaaaa…"
    assert words.share(1, 0) == 0.0
    assert words.tone("rolled_back") == "bad"
    assert words.tone("anything else") == "idle"
