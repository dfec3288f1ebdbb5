"""Keeps what a device remembers and may forget: what is lost or damaged is found out again.

A file holds a JSON object of what was found by its name, what was found last at its end.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar

from sealane import fileio
from sealane.limits import MIB

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from _typeshed import DataclassInstance

    from sealane_agent.log import Log

RECOLLECTION_BYTES: Final = 4 * MIB
"""Of one file: hundreds of bundles, with a sentence for each of their variants, are less."""

KEPT: Final = 256
"""Found things that one file holds: the oldest go when there are too many."""

_REASON_CHARS: Final = 200

_DAMAGE: Final = (
    ArithmeticError,
    AttributeError,
    LookupError,
    OSError,
    RecursionError,
    TypeError,
    ValueError,
)
"""What reading JSON raises, and what taking its fields for what they should be does."""

_Found = TypeVar("_Found")


@dataclass(frozen=True, slots=True)
class Recollection:
    """One file of JSON.

    Attributes:
        log: hears when the file is damaged or cannot be written; None for who only looks.
    """

    path: Path
    log: Log | None = None

    def read(self, decode: Callable[[Any], _Found]) -> dict[str, _Found]:
        """What `decode` makes of each; nothing where it is missing, damaged or too large; blocks.

        `decode` may raise whatever reading fields does that are not there or of another kind.
        """
        try:
            return _last({str(name): decode(each) for name, each in self._parsed().items()})
        except FileNotFoundError:
            return {}
        except _DAMAGE as error:
            self._tell("damaged file ignored", error, "what it held is found out again")
            return {}

    def write(self, known: Mapping[str, DataclassInstance]) -> None:
        """Replace it durably; what the disk does not take is found out again; blocks."""
        content = encode(known)
        try:
            _require_small(content)
            fileio.replace(self.path, content)
        except (OSError, ValueError) as error:
            self._tell("not remembered", error, "it is found out again after a restart")

    def _parsed(self) -> Any:
        with self.path.open("rb") as file:
            content = file.read(RECOLLECTION_BYTES + 1)
        _require_small(content)
        fields = json.loads(content)
        # Half of a surrogate pair is JSON, but no text that could be told to anybody.
        json.dumps(fields, ensure_ascii=False).encode()
        return fields

    def _tell(self, event: str, error: Exception, hint: str) -> None:
        if self.log is not None:
            reason = str(error)[:_REASON_CHARS]
            kind = type(error).__name__
            self.log(event, path=self.path, kind=kind, reason=reason, hint=hint)


def with_one_more(known: Mapping[str, _Found], name: str, found: _Found) -> dict[str, _Found]:
    """What is known from now on: this last, and the oldest no more where there are too many."""
    return _last({key: each for key, each in known.items() if key != name} | {name: found})


def encode(known: Mapping[str, DataclassInstance]) -> bytes:
    """JSON, for people too."""
    return json.dumps({name: asdict(each) for name, each in known.items()}, indent=1).encode()


def _last(known: dict[str, _Found]) -> dict[str, _Found]:
    return dict(list(known.items())[-KEPT:])


def _require_small(content: bytes) -> None:
    if len(content) > RECOLLECTION_BYTES:
        raise ValueError(f"it is larger than {RECOLLECTION_BYTES} bytes")
