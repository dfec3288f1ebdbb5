"""How this process was started: which version of the agent it is, and by whom."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sealane_agent.upgrade.starts import PACKAGE

if TYPE_CHECKING:
    from collections.abc import Mapping

VARIABLE: Final = "SEALANE_LAUNCHED"
"""Variable that a launched process finds: JSON, which version it is and who started it."""


class Relaunch(Exception):  # noqa: N818 - nothing went wrong
    """This process shall give its place to another version."""


@dataclass(frozen=True, slots=True)
class Launched:
    """How this process was started.

    Attributes:
        manifest: of its version.
        launcher: the command line that started it, to start another version.
    """

    manifest: str = PACKAGE.manifest
    launcher: tuple[str, ...] = ()

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Launched:
        """As the environment says; the package's own when it says nothing."""
        try:
            fields = json.loads(environment[VARIABLE])
            return cls(str(fields["manifest"]), tuple(map(str, fields["launcher"])))
        except (KeyError, ValueError, TypeError):
            return cls()

    def encode(self) -> str:
        """For the environment."""
        return json.dumps({"manifest": self.manifest, "launcher": self.launcher})
