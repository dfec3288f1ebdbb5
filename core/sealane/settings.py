"""Reads a configuration file: which keys there are, what each may hold, where a complaint lies.

What a program uses is, the later the stronger: the key's default, the file, the environment, the
command line.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sealane.errors import SealaneError
from sealane.limits import KIB

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

Value = str | int | bool

FILE_BYTES: Final = 64 * KIB
"""A larger file is no configuration."""

_TABLE: Final = re.compile(r"\s*\[\s*([\w.-]+)\s*\]")
_KEY: Final = re.compile(r"\s*([\w.-]+)\s*=")
_AT_LINE: Final = re.compile(r"^(.*?) \(at line (\d+), column \d+\)$")
_WORDS: Final[Mapping[type, str]] = {
    str: "text in quotes",
    int: "a whole number",
    bool: "true or false",
}
_SWITCHES: Final = {"true": True, "false": False}


class ConfigurationError(SealaneError):
    """A configuration cannot be used; the message names every line that is wrong."""


@dataclass(frozen=True, slots=True)
class Key:
    """One thing that can be set.

    Attributes:
        name: `table.key`, or `key` outside of any table.
        default: what holds when nobody sets it; its type is the value's.
        says: what it does, with its unit.
        pattern: regular expression that text matches as a whole; `shape` says it in words.
        highest, lowest: largest and smallest number.
    """

    name: str
    default: Value
    says: str
    pattern: str = ".*"
    shape: str = "text"
    highest: int = 0
    lowest: int = 0

    def complaint(self, value: object) -> str:
        """What is wrong with a value; empty when nothing is."""
        if type(value) is not type(self.default):
            return f"{self.name} must be {_WORDS[type(self.default)]}"
        if isinstance(value, str) and not re.fullmatch(self.pattern, value):
            return f"{self.name} must be {self.shape}, not {value!r}"
        if type(value) is int and not self.lowest <= value <= self.highest:
            return f"{self.name} must be between {self.lowest} and {self.highest}"
        return ""


@dataclass(frozen=True, slots=True)
class Catalogue:
    """Everything that can be set for one program.

    Attributes:
        prefix: what its environment variables begin with.
        file: where its configuration file lies unless it is told otherwise.
    """

    program: str
    prefix: str
    file: str
    keys: tuple[Key, ...]

    def variable(self, name: str) -> str:
        """The environment variable of a key."""
        return f"{self.prefix}_{name.upper().replace('.', '_')}"

    @property
    def file_variable(self) -> str:
        """The environment variable that names another file."""
        return f"{self.prefix}_CONFIG"

    def load(self, named: Path | None, environment: Mapping[str, str]) -> dict[str, Value]:
        """Every key's value; the usual file need not be there. Raises ConfigurationError."""
        chosen = environment.get(self.file_variable, "")
        path = named or Path(chosen or self.file)
        found: dict[str, Value] = {key.name: key.default for key in self.keys}
        try:
            found |= self.read(path.read_bytes(), str(path))
        except FileNotFoundError:
            if named or chosen:
                raise ConfigurationError(f"there is no configuration file {path}") from None
        return found | self.from_environment(environment)

    def read(self, content: bytes, file: str) -> dict[str, Value]:
        """What a file sets; raises ConfigurationError with every complaint and its line."""
        text = _text(content, file)
        try:
            found = dict(_flat(tomllib.loads(text)))
        except RecursionError as error:
            raise ConfigurationError(f"{file}: it is nested too deeply") from error
        except tomllib.TOMLDecodeError as error:
            match = _AT_LINE.match(str(error))
            line, what = (match[2], match[1]) if match else (str(text.count("\n") + 1), str(error))
            raise ConfigurationError(f"{file}, line {line}: {what.lower()}") from error
        lines = _lines(text)
        complaints = [
            f"{file}, line {lines.get(name, 1)}: {complaint}"
            for name, value in found.items()
            if (complaint := self._complaint(name, value))
        ]
        if complaints:
            raise ConfigurationError(
                "; ".join(complaints), hint=f"{self.program} check-config --defaults shows all keys"
            )
        return found

    def from_environment(self, environment: Mapping[str, str]) -> dict[str, Value]:
        """What the environment sets; raises ConfigurationError."""
        found: dict[str, Value] = {}
        for key in self.keys:
            variable = self.variable(key.name)
            if variable in environment:
                value = _parsed(environment[variable], key)
                if complaint := key.complaint(value):
                    raise ConfigurationError(f"environment variable {variable}: {complaint}")
                found[key.name] = value
        return found

    def document(self) -> str:
        """A configuration file that sets nothing and explains every key."""
        return "\n".join([*_head(self), *self._explained()]) + "\n"

    def _complaint(self, name: str, value: object) -> str:
        for key in self.keys:
            if key.name == name:
                return key.complaint(value)
        return f"there is no key {name}"

    def _explained(self) -> Iterator[str]:
        table = ""
        for key in self.keys:
            own, _, name = key.name.rpartition(".")
            if own != table:
                table = own
                yield f"\n[{table}]"
            yield f"# {key.says}"
            yield f"# Environment: {self.variable(key.name)}"
            yield f"# {name} = {_written(key.default)}"


def _head(catalogue: Catalogue) -> tuple[str, ...]:
    return (
        f"# Configuration of {catalogue.program}: every key, with its default.",
        "# A variable in the environment overrules this file, an option of the command both.",
        f"# Check it with: {catalogue.program} check-config",
        "",
    )


def _text(content: bytes, file: str) -> str:
    if len(content) > FILE_BYTES:
        raise ConfigurationError(f"{file} is larger than {FILE_BYTES // KIB} KiB")
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigurationError(f"{file}, line {line}: it is not UTF-8") from error


def _flat(table: Mapping[str, object], path: str = "") -> Iterator[tuple[str, Value]]:
    for name, value in table.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{path}{name}.")
        else:
            yield f"{path}{name}", value  # type: ignore[misc]  # whatever it is, it is judged next


def _lines(text: str) -> dict[str, int]:
    """Where each key stands: the parser does not tell."""
    found: dict[str, int] = {}
    table = ""
    for number, line in enumerate(text.splitlines(), 1):
        if match := _TABLE.match(line):
            table = f"{match[1]}."
        elif match := _KEY.match(line):
            found.setdefault(f"{table}{match[1]}", number)
    return found


def _parsed(text: str, key: Key) -> Value:
    if isinstance(key.default, bool):
        return _SWITCHES.get(text.lower(), text)
    if isinstance(key.default, int):
        return int(text) if text.isdigit() else text
    return text


def _written(value: Value) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, int) else f'"{value}"'
