"""What the agent says on stderr: one line an event, as key=value or as JSON."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sealane.clock import Clock


_BARE: Final = ("at", "event")


class Log(Protocol):
    """Says that something happened."""

    def __call__(self, event: str, **fields: object) -> None:
        """One line; fields are written in the order given, empty ones are left out."""
        ...


class LineLog:
    """Writes each line with one call."""

    def __init__(
        self, clock: Clock, write: Callable[[str], object], *, as_json: bool = False
    ) -> None:
        self._clock, self._write, self._as_json = clock, write, as_json

    def __call__(self, event: str, **fields: object) -> None:
        """One line."""
        moment = self._clock.now().isoformat(timespec="milliseconds")
        shown = {"at": moment, "event": event}
        shown |= {key: str(value) for key, value in fields.items() if value not in ("", None)}
        line = json.dumps(shown) if self._as_json else plain_line(shown)
        self._write(f"{line}\n")


def plain_line(fields: Mapping[str, str]) -> str:
    """Fields as one line for people: those that need no name, then the others with theirs."""
    bare = [fields[name] for name in _BARE if name in fields]
    rest = (f"{key}={_quoted(value)}" for key, value in fields.items() if key not in _BARE)
    return " ".join((*bare, *rest))


def _quoted(value: str) -> str:
    plain = value.isprintable() and not any(sign in value for sign in ' "=')
    return value if plain and value else json.dumps(value, ensure_ascii=False)
