"""fleet.json: what stays the same in a fleet's life."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from sealane.errors import SealaneError

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class FleetSettings:
    """The content of fleet.json.

    Attributes:
        fleet: name of the fleet; the trust domain in every certificate.
        hosts: names and addresses under which devices dial the manager; the first is preferred.
        development: every key lies on the manager, and one signature is enough.
    """

    fleet: str
    hosts: tuple[str, ...]
    development: bool

    def encode(self) -> bytes:
        """JSON."""
        return json.dumps(asdict(self), indent=2).encode() + b"\n"

    @classmethod
    def load(cls, path: Path) -> FleetSettings:
        """Read fleet.json; raises SealaneError when it is not here or damaged."""
        try:
            fields = json.loads(path.read_bytes())
            return cls(
                str(fields["fleet"]), tuple(fields["hosts"]), fields["development"] is not False
            )
        except FileNotFoundError as error:
            message = f"there is no fleet in {path.parent}"
            raise SealaneError(message, hint="make one with: sealane init") from error
        except (ValueError, KeyError, TypeError) as error:
            raise SealaneError(f"{path} is damaged") from error
