"""Reads YAML as nested text with the place of everything, and refuses what only attackers need.

Only the grammar of YAML is used: no value is ever built from a tag, so `no` and `0x10` stay what
was written. Anchors and aliases (which multiply), tags, directives, a second document,
keys that come twice, and deep nesting are refused. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NoReturn

import yaml
from sealane.limits import KIB

from sealane_manager.errors import WrongFile

if TYPE_CHECKING:
    from collections.abc import Iterator

FILE_BYTES: Final = 256 * KIB
"""A rollout file: 30 times a year of single freeze days and the longest selector."""

DEEPEST: Final = 8
"""Levels of nesting; the grammar has four."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where something stands in a file; line and column count from 1."""

    file: str
    line: int
    column: int

    def wrong(self, message: str, hint: str = "") -> WrongFile:
        """The error that says where."""
        return WrongFile(f"{self.file}:{self.line}:{self.column}: {message}", hint=hint)


@dataclass(frozen=True, slots=True)
class Text:
    """A scalar, as it was written, without its quotes."""

    place: Place
    text: str


@dataclass(frozen=True, slots=True)
class Items:
    """A sequence."""

    place: Place
    items: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Entries:
    """A mapping; `keys` has the place of each key."""

    place: Place
    entries: dict[str, Node] = field(default_factory=dict)
    keys: dict[str, Place] = field(default_factory=dict)


Node = Text | Items | Entries


def read(content: bytes, file: str) -> Node:
    """The one document of a file; raises WrongFile."""
    start = Place(file, 1, 1)
    if len(content) > FILE_BYTES:
        raise start.wrong(f"a file has at most {FILE_BYTES} bytes, this has {len(content)}")
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise Place(file, line, 1).wrong("this is not UTF-8") from error
    try:
        return _Reader(text, file).document()
    except yaml.reader.ReaderError as error:
        raise start.wrong(f"character U+{error.character:04X} is not allowed in YAML") from error
    except yaml.MarkedYAMLError as error:
        raise _syntax(error, start) from error


def _syntax(error: yaml.MarkedYAMLError, start: Place) -> WrongFile:
    mark = error.problem_mark or error.context_mark
    place = Place(start.file, mark.line + 1, mark.column + 1) if mark else start
    words = ", ".join(each for each in (error.context, error.problem) if each)
    return place.wrong(f"this is no YAML: {words}")


class _Reader:
    """Goes through the events of one file."""

    def __init__(self, text: str, file: str) -> None:
        self._file = file
        self._events: Iterator[Any] = yaml.parse(text, Loader=yaml.SafeLoader)
        self._depth = 0

    def document(self) -> Node:
        """The only document."""
        next(self._events)  # the stream begins
        first = next(self._events)
        if isinstance(first, yaml.StreamEndEvent):
            self._refuse(first, "the file is empty")
        if first.version or first.tags:
            self._refuse(first, "directives are not read")
        node = self._node(next(self._events))
        next(self._events)  # the document ends
        after = next(self._events)
        if not isinstance(after, yaml.StreamEndEvent):
            self._refuse(after, "one file holds one rollout, and here begins a second document")
        return node

    def _node(self, event: Any) -> Node:
        if isinstance(event, yaml.AliasEvent) or event.anchor:
            self._refuse(event, "anchors and aliases are not read: write it out")
        if event.tag:
            self._refuse(event, "tags are not read: everything here is text, a list or a mapping")
        place = self._place(event)
        if isinstance(event, yaml.ScalarEvent):
            return Text(place, event.value)
        self._depth += 1
        if self._depth > DEEPEST:
            self._refuse(event, f"this is nested more than {DEEPEST} levels deep")
        sequence = isinstance(event, yaml.SequenceStartEvent)
        node = self._items(place) if sequence else self._entries(place)
        self._depth -= 1
        return node

    def _items(self, place: Place) -> Items:
        items = []
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            items.append(self._node(event))
        return Items(place, tuple(items))

    def _entries(self, place: Place) -> Entries:
        found = Entries(place)
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            key = self._node(event)
            if not isinstance(key, Text):
                raise key.place.wrong("a key is a word")
            if key.text in found.entries:
                first = found.keys[key.text].line
                raise key.place.wrong(f"{key.text[:40]!r} stands here already, in line {first}")
            found.keys[key.text] = key.place
            found.entries[key.text] = self._node(next(self._events))
        return found

    def _place(self, event: Any) -> Place:
        mark = event.start_mark
        return Place(self._file, mark.line + 1, mark.column + 1)

    def _refuse(self, event: Any, message: str) -> NoReturn:
        raise self._place(event).wrong(message)
