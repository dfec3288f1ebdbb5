"""Keeps what a device remembers and may forget: what is lost or damaged is found out again."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar

from sealane import fileio
from sealane.limits import MIB

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from sealane_agent.log import Log

RECOLLECTION_BYTES: Final = 4 * MIB
"""Of one file: hundreds of bundles, with a sentence for each of their variants, are less."""

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

    def read(self, decode: Callable[[Any], dict[str, _Found]]) -> dict[str, _Found]:
        """What `decode` makes of it; nothing where it is missing, damaged or too large; blocks."""
        try:
            return decode(self._parsed())
        except FileNotFoundError:
            return {}
        except _DAMAGE as error:
            self._tell("damaged file ignored", error, "what it held is found out again")
            return {}

    def write(self, content: bytes) -> None:
        """Replace it durably; what the disk does not take is found out again; blocks."""
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


def _require_small(content: bytes) -> None:
    if len(content) > RECOLLECTION_BYTES:
        raise ValueError(f"it is larger than {RECOLLECTION_BYTES} bytes")
