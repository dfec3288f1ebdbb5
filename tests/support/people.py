"""People around a plant: each signs with a key of their own, by the real command line."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from demo_story.plant import MODEL
from demo_story.processes import wait_for
from support.commands import Given, run
from support.holders import PASSPHRASE, new_holder

if TYPE_CHECKING:
    from pathlib import Path

    from demo_story.plant import Plant

FAMILY = MODEL.partition("/")[0]


@dataclass(frozen=True)
class People:
    """Holders, each with a folder that stands for a machine, and the plant's operators."""

    plant: Plant
    home: Path

    @property
    def environment(self) -> dict[str, str]:
        (self.home / "passphrase").write_text(PASSPHRASE + "\n")
        return os.environ | {
            "SEALANE_CONTEXT": str(self.plant.state / "operator"),
            "SEALANE_PASSPHRASE_FILE": str(self.home / "passphrase"),
        }

    def type(self, *arguments: object) -> str:
        """Run `sealane` as one of them; raises when it fails."""
        done = run("sealane", *map(str, arguments), given=Given(self.environment))
        assert done.returncode == 0, done.stderr
        return done.stdout

    def arrive(self, *names: str) -> None:
        """They have made their keys."""
        for name in names:
            new_holder(name, self.home / name)

    def public(self, name: str) -> Path:
        return self.home / name / f"{name}.pub.json"

    def key(self, name: str) -> Path:
        return self.home / name / f"{name}.pem"

    def keys(self, *names: str) -> list[object]:
        return [word for name in names for word in ("--key", self.key(name))]

    def convert(self) -> str:
        """The root to ana, ben and eva, the targets to kim, the family to lea and max."""
        return self.type(
            *("trust", "convert", "--state", self.plant.state, "--root-threshold", 2),
            *("--root-key", self.public("ana"), "--root-key", self.public("ben")),
            *("--root-key", self.public("eva"), "--targets-key", self.public("kim")),
            *("--family", f"{FAMILY}=2:{self.public('lea')},{self.public('max')}"),
        )

    def waiting(self) -> list[str]:
        rows = json.loads(self.type("trust", "status", "-o", "json"))
        return sorted(row["role"] for row in rows)

    def serves(self, version: int) -> None:
        """Wait until the device says that it serves this release."""

        def found() -> bool | None:
            state = str(self.plant.folder / "box-1")
            status = json.loads(
                self.plant.processes.agent("status", "--state", state, "-o", "json")
            )
            return status["slots"][0]["serves"] == f"{MODEL}@{version}" or None

        wait_for(f"release {version} on box-1", found)
