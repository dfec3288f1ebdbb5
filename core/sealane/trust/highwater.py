"""What a device has seen and will never go below, durable over power cuts.

python-tuf renames its cache without fsync, so after a power cut it may forget how new the
repository was; these marks do not. A mark belongs to the keys that signed what it counts: when the
root replaces those keys, counting begins anew, which undoes a thief's jump to a huge version.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Final

from sealane import fileio
from sealane.audit.witness import NOTHING, Seen
from sealane.errors import TrustError

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

_STEP: Final = "0 state"


@dataclass(frozen=True, slots=True)
class Mark:
    """The highest number seen under one set of keys.

    Attributes:
        keys: fingerprint of the key set; empty before the first.
        version: the highest number.
    """

    keys: str = ""
    version: int = 0

    def floor(self, keys: str) -> int:
        """What may not be gone below under these keys."""
        return self.version if keys == self.keys else 0

    def raised(self, keys: str, version: int) -> Mark:
        """The mark after something with this version was accepted under these keys."""
        return Mark(keys, max(self.floor(keys), version))


@dataclass(frozen=True, slots=True)
class HighWater:
    """Every mark of a device.

    Attributes:
        root: version of the newest root; its chain is judged by itself, so it is never reset.
        director: versions of director documents.
        time: seconds since 1970 that director documents proved to have passed.
        timestamp, snapshot: versions of the repository's online roles.
        log: the audit log as it was shown last.
    """

    root: int = 0
    director: Mark = Mark()
    time: Mark = Mark()
    timestamp: Mark = Mark()
    snapshot: Mark = Mark()
    log: Seen = NOTHING


def save(path: Path, marks: HighWater) -> None:
    """Write the marks durably, with a checksum."""
    fields = asdict(marks)
    content = {"checksum": _checksum(fields), "marks": fields}
    fileio.replace(path, json.dumps(content, indent=1, sort_keys=True).encode())


def load(path: Path) -> HighWater:
    """Read the marks; raises TrustError when they are gone or damaged: they are never guessed."""
    try:
        content: dict[str, Any] = json.loads(path.read_bytes())
        fields = content["marks"]
        if content["checksum"] != _checksum(fields):
            raise ValueError("its checksum does not fit")  # noqa: TRY301 - one refusal for all
        log = Seen(**fields.pop("log", {}))  # a file from before there was a log has none
        marks = {name: Mark(**value) for name, value in fields.items() if name != "root"}
        return HighWater(root=fields["root"], log=log, **marks)
    except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise TrustError(
            _STEP,
            f"{path.name} is missing or damaged, so this device no longer knows what it has seen",
            hint="what serves goes on; for new releases run `sealane-agent enroll` here once more,"
            " with a new join token",
        ) from error


def _checksum(fields: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()
