"""Decides what JSON a bundle's files may hold: strict to read, one way to write.

Duplicate keys, numbers that are not finite, other encodings and deep nesting are refused, so that
two readers never understand one file differently.
"""

from __future__ import annotations

import json
import math
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Never

from sealane.errors import BundleError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


def dump(value: Mapping[str, Any]) -> bytes:
    """Encode the one way: sorted keys, no spaces, ASCII."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def load(content: bytes, limit: int, what: str) -> Fields:
    """Read an object of at most `limit` bytes, or raise BundleError."""
    if len(content) > limit:
        raise BundleError(f"{what} is {len(content)} bytes, more than the {limit} allowed")
    try:
        value = json.loads(
            content.decode(),
            object_pairs_hook=_unique,
            parse_float=_finite,
            parse_constant=_refuse_constant,
        )
    except RecursionError as error:
        raise BundleError(f"{what} is nested too deeply") from error
    except ValueError as error:
        raise BundleError(f"{what} is not valid JSON: {error}") from error
    return Fields.of(value, what)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands twice in one object")
    return found


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text[:40]} is too large")
    return number


def _refuse_constant(text: str) -> Never:
    raise ValueError(f"{text} is not a JSON number")


@dataclass(frozen=True, slots=True)
class Fields:
    """One JSON object whose fields are read by type; every error says where it stands."""

    raw: Mapping[str, Any]
    where: str

    @classmethod
    def of(cls, value: object, where: str) -> Fields:
        """Take an object, or raise BundleError."""
        if not isinstance(value, dict):
            raise BundleError(f"{where} is not an object")
        return cls(value, where)

    def text(self, key: str) -> str:
        """A string."""
        return _text(self._get(key), self._path(key))

    def integer(self, key: str, low: int, high: int) -> int:
        """A whole number from low to high."""
        value = self._get(key)
        if type(value) is not int or not low <= value <= high:
            raise BundleError(f"{self._path(key)} is not a whole number from {low} to {high}")
        return value

    def number(self, key: str, low: float, high: float) -> float:
        """A number from low to high."""
        return _number(self._get(key), (low, high), self._path(key))

    def numbers(self, key: str, limit: int) -> tuple[float, ...]:
        """A list of at most `limit` finite numbers."""
        bounds = (-sys.float_info.max, sys.float_info.max)
        found = self.items(key, limit)
        return tuple(_number(item, bounds, self._entry(key, n)) for n, item in enumerate(found))

    def items(self, key: str, limit: int) -> list[Any]:
        """A list of at most `limit` entries."""
        value = self._get(key)
        if not isinstance(value, list) or len(value) > limit:
            raise BundleError(f"{self._path(key)} is not a list of at most {limit} entries")
        return value

    def texts(self, key: str, limit: int) -> tuple[str, ...]:
        """A list of at most `limit` strings."""
        found = self.items(key, limit)
        return tuple(_text(item, self._entry(key, n)) for n, item in enumerate(found))

    def objects(self, key: str, limit: int) -> Iterator[Fields]:
        """A list of at most `limit` objects."""
        for number, item in enumerate(self.items(key, limit)):
            yield Fields.of(item, self._entry(key, number))

    def fields(self, key: str) -> Fields:
        """An object."""
        return Fields.of(self._get(key), self._path(key))

    def _get(self, key: str) -> Any:
        if key not in self.raw:
            raise BundleError(f"{self.where} has no {key}")
        return self.raw[key]

    def _path(self, key: str) -> str:
        return f"{self.where}: {key[:80]}"

    def _entry(self, key: str, number: int) -> str:
        return f"{self._path(key)}[{number}]"


def _text(value: object, where: str) -> str:
    if not isinstance(value, str):
        raise BundleError(f"{where} is not a string")
    return value


def _number(value: object, bounds: tuple[float, float], where: str) -> float:
    low, high = bounds
    if not isinstance(value, int | float) or isinstance(value, bool) or not low <= value <= high:
        raise BundleError(f"{where} is not a number from {low:g} to {high:g}")
    return float(value)
