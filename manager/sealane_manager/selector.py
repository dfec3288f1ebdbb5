"""Decides which devices a selector means: `site in (berlin,paris), line!=3, gpu, !old`.

Terms are joined by commas and all must hold; an empty selector means every device. As people know
it from Kubernetes, `line!=3` and `line notin (3)` also hold where there is no label `line`. The key
`device` is no label but the device's own name: `device in (edge-1,edge-2)`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sealane.errors import InvalidName
from sealane.names import parse_label

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sealane.names import DeviceId

MAX_CHARS: Final = 4096
"""A selector as it is typed: bounds the work of a parse and the SQL made from it."""

MAX_TERMS: Final = 64
"""Terms and values of one selector each: well under SQLite's limit of bound parameters."""

SITE: Final = "site"
"""The label that says where a device stands."""

Sites = frozenset[str]
"""Where something lies; an empty name stands for devices without a site."""

_TOKEN: Final = re.compile(r"\s*(?:(?P<word>[A-Za-z0-9_.-]+)|(?P<sign>!=|==|=|!|\(|\)|,))")
_HINT: Final = "write terms like site in (berlin,paris), line!=3, gpu, !old"


@dataclass(frozen=True, slots=True)
class Term:
    """One condition on one label.

    Attributes:
        values: the label has one of these; None means that any value will do.
        negated: the opposite must hold.
    """

    key: str
    values: frozenset[str] | None = None
    negated: bool = False

    def holds(self, labels: Mapping[str, str]) -> bool:
        """Whether these labels meet the condition."""
        found = labels.get(self.key)
        met = found is not None and (self.values is None or found in self.values)
        return met != self.negated


@dataclass(frozen=True, slots=True)
class Selector:
    """Conditions that must all hold; none means every device."""

    terms: tuple[Term, ...] = ()


EVERYTHING: Final = Selector()

DEVICE: Final = "device"
"""The key that means a device's own name; no label may be called so."""


def one(device: DeviceId) -> str:
    """The selector that means this device alone."""
    return f"{DEVICE}={device}"


def refuse_reserved(keys: Iterable[str]) -> None:
    """Raise InvalidName when a label would be called as the name of a device is."""
    if DEVICE in keys:
        raise InvalidName(f"no label can be called {DEVICE}", hint="it means the device's own name")


def values_of(selector: Selector, key: str) -> frozenset[str]:
    """The values that a label must have one of; none when it may have any."""
    demanded = [
        term.values
        for term in selector.terms
        if term.key == key and term.values is not None and not term.negated
    ]
    return frozenset.intersection(*demanded) if demanded else frozenset()


def matches(selector: Selector, labels: Mapping[str, str], device: str = "") -> bool:
    """Whether the device of this name with these labels is meant."""
    known = {**labels, DEVICE: device}
    return all(term.holds(known) for term in selector.terms)


def parse(text: str) -> Selector:
    """Read a selector; raises InvalidName that says at which character it cannot be read."""
    if len(text) > MAX_CHARS:
        raise InvalidName(f"a selector has at most {MAX_CHARS} characters, this has {len(text)}")
    reader = _Reader(text)
    if reader.peek() == "":
        return EVERYTHING
    terms = [_term(reader)]
    while reader.peek() != "":
        reader.expect(",")
        terms.append(_term(reader))
        if len(terms) > MAX_TERMS:
            raise reader.wrong(f"a selector has at most {MAX_TERMS} terms")
    return Selector(tuple(terms))


class _Reader:
    """Words and signs of a selector, one at a time."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def peek(self) -> str:
        """The next word or sign; empty at the end."""
        found = self._match()
        return found[0].strip() if found else ""

    def take(self) -> str:
        """The next word or sign, and go behind it."""
        found = self._match()
        if not found:
            return ""
        self._at = found.end()
        return found[0].strip()

    def accept(self, *signs: str) -> bool:
        """Go behind one of these signs if it comes next."""
        if self.peek() not in signs:
            return False
        self.take()
        return True

    def expect(self, sign: str) -> None:
        """Go behind this sign, or raise InvalidName."""
        if not self.accept(sign):
            raise self.wrong(f"expected {sign!r}")

    def word(self, what: str) -> str:
        """Go behind a word and return it, or raise InvalidName."""
        found = self._match()
        if not (found and found["word"]):
            raise self.wrong(f"expected {what}")
        return self.take()

    def wrong(self, message: str) -> InvalidName:
        """The error that says where."""
        rest = self._text[self._at :]
        place = self._at + len(rest) - len(rest.lstrip()) + 1
        return InvalidName(f"the selector is wrong at character {place}: {message}", hint=_HINT)

    def _match(self) -> re.Match[str] | None:
        found = _TOKEN.match(self._text, self._at)
        if not found and self._text[self._at :].strip():
            raise self.wrong("this character means nothing here")
        return found


def _term(reader: _Reader) -> Term:
    if reader.accept("!"):
        return _checked(reader, Term(reader.word("a label"), negated=True))
    key = reader.word("a label")
    if reader.accept("=", "=="):
        return _checked(reader, Term(key, frozenset({reader.word("a value")})))
    if reader.accept("!="):
        return _checked(reader, Term(key, frozenset({reader.word("a value")}), negated=True))
    if reader.accept("in"):
        return _checked(reader, Term(key, _values(reader)))
    if reader.accept("notin"):
        return _checked(reader, Term(key, _values(reader), negated=True))
    return _checked(reader, Term(key))


def _values(reader: _Reader) -> frozenset[str]:
    reader.expect("(")
    values = {reader.word("a value")}
    while not reader.accept(")"):
        reader.expect(",")
        values.add(reader.word("a value"))
        if len(values) > MAX_TERMS:
            raise reader.wrong(f"a list has at most {MAX_TERMS} values")
    return frozenset(values)


def _checked(reader: _Reader, term: Term) -> Term:
    try:
        for value in term.values or ("any",):
            parse_label(term.key, value)
    except InvalidName as error:
        raise reader.wrong(str(error)) from error
    return term
