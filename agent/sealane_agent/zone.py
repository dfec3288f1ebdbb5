"""Finds the device's time zone, in which its windows are written."""

from __future__ import annotations

from datetime import UTC
from pathlib import Path
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo

from sealane.settings import ConfigurationError

if TYPE_CHECKING:
    from datetime import tzinfo

_LOCAL: Final = Path("/etc/localtime")


def device_zone(name: str, local: Path = _LOCAL) -> tzinfo:
    """The zone of that name, or the machine's when it is empty; raises ConfigurationError."""
    if name:
        try:
            return ZoneInfo(name)
        except (OSError, ValueError, KeyError) as error:
            raise ConfigurationError(
                f"clock.zone = {name!r} is no time zone that this machine knows",
                hint="write a name such as Europe/Berlin; the package tzdata brings them",
            ) from error
    try:
        with local.open("rb") as file:
            return ZoneInfo.from_file(file, key=_key(local))
    except (OSError, ValueError):
        return UTC


def _key(local: Path) -> str:
    """`Europe/Berlin`, where the file is a link into the system's zones."""
    return str(local.resolve()).partition("zoneinfo/")[2] or "local"
