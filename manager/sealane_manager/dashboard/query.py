"""Decides what the address of a page asks for, and how the address of another is written. Pure.

The address is the whole state of a page: what does not make sense in it is left out, never an
error, so that an old link still opens.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl, urlencode, urlsplit

from sealane_manager.store.summaries import AuditFilter, DeviceFilter, Page

if TYPE_CHECKING:
    from collections.abc import Mapping

VALUE_CHARS: Final = 256
"""Longest value that is looked at; longer ones are cut."""

SELECTOR_CHARS: Final = 4096
TYPED: Final = ("q", "selector")
"""Filters that are typed letter by letter."""

PAGE_SIZES: Final = (25, 50, 100, 200)
MAX_PAGE: Final = 100_000


def value(asked: Mapping[str, str], name: str, most: int = VALUE_CHARS) -> str:
    """One value without blanks around it; empty when it is not there."""
    return asked.get(name, "")[:most].strip()


def whole(asked: Mapping[str, str], name: str, most: int) -> int:
    """A number from 0 to `most`; 0 when it is not one."""
    text = value(asked, name)
    return min(int(text), most) if text.isascii() and text.isdigit() else 0


def device_filter(asked: Mapping[str, str]) -> DeviceFilter:
    """Which devices."""
    return DeviceFilter(
        text=value(asked, "q"),
        status=value(asked, "status"),
        site=value(asked, "site"),
        release=value(asked, "release"),
        rollout=value(asked, "rollout"),
        selector=value(asked, "selector", SELECTOR_CHARS),
    )


def page(asked: Mapping[str, str]) -> Page:
    """Which part, and in which order: `-name` is from the end."""
    size = whole(asked, "size", PAGE_SIZES[-1])
    sort = value(asked, "sort")
    return Page(
        number=max(1, whole(asked, "page", MAX_PAGE)),
        size=size if size in PAGE_SIZES else PAGE_SIZES[1],
        sort=sort.removeprefix("-"),
        descending=sort.startswith("-"),
    )


def audit_filter(asked: Mapping[str, str]) -> AuditFilter:
    """Which lines of the decision log."""
    return AuditFilter(
        text=value(asked, "q"),
        actor=value(asked, "actor"),
        action=value(asked, "action"),
        rollout=value(asked, "rollout"),
        before=whole(asked, "before", 2**62),
    )


def address(path: str, asked: Mapping[str, str], **changes: object) -> str:
    """The address of a page with these values changed, and without empty ones."""
    merged = {**asked, **{name: str(new) for name, new in changes.items()}}
    kept = {name: text for name, text in merged.items() if text.strip()}
    return f"{path}?{urlencode(kept)}" if kept else path


def types_on(before: str, asked: Mapping[str, str]) -> bool:
    """Whether a filter is a word that was typed on, given the address before: no step to go back.

    That is so when it had a word there already and nothing else changed, or nothing at all did.
    """
    had = dict(parse_qsl(urlsplit(before).query))
    now = {name: text for name, text in asked.items() if text.strip()}
    changed = {name for name in had.keys() | now.keys() if had.get(name) != now.get(name)}
    return not changed or any(
        changed == {name} and had.get(name) and now.get(name) for name in TYPED
    )


def sorted_by(asked: Mapping[str, str], column: str) -> str:
    """The order after a click on a column's head: turned round when it is that column's already."""
    return f"-{column}" if value(asked, "sort") == column else column


def inside(path: str) -> str:
    """A path of this site to go on to; anything else becomes the first page."""
    own = path.startswith("/") and not path.startswith(("//", "/\\"))
    return path[:SELECTOR_CHARS] if own and path.isprintable() else "/"
