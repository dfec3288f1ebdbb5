"""Decides which fields of a document this version does not know, and where they go back.

They are kept as a tree of keys, list entries under their index.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


def listed(value: Any) -> Any:
    """The value as JSON gives it back: lists for tuples."""
    if isinstance(value, dict):
        return {key: listed(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [listed(item) for item in value]
    return value


def unknown(raw: Any, known: Any) -> dict[str, Any]:
    """What stands in raw and not in known."""
    found: dict[str, Any] = {}
    entries = _entries(known)
    for key, value in _entries(raw).items():
        if key not in entries:
            found[key] = value
        elif below := unknown(value, entries[key]):
            found[key] = below
    return found


def merged(known: Any, extra: Mapping[str, Any]) -> Any:
    """The known document with the unknown fields where they stood."""
    if isinstance(known, list):
        return [merged(item, extra.get(str(n), {})) for n, item in enumerate(known)]
    if isinstance(known, dict):
        both = {key: merged(item, extra.get(key, {})) for key, item in known.items()}
        return dict(extra) | both
    return known


def _entries(value: Any) -> Mapping[str, Any]:
    if isinstance(value, list):
        return {str(number): item for number, item in enumerate(value)}
    return value if isinstance(value, dict) else {}
