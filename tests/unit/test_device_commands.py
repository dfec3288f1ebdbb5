"""What the documents say of the commands at a device holds."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import pytest
from sealane_agent.cli.main import main

PAGE: Final = Path(__file__).parents[2] / "docs" / "troubleshooting.md"
USAGE: Final = 2


def documented() -> list[str]:
    section = PAGE.read_text("utf-8").split("## At the device")[1].split("\n## ")[0]
    return re.findall(r"^\| `sealane-agent (\w+)", section, re.MULTILINE)


def test_there_are_documented_commands() -> None:
    assert {"status", "doctor", "support"} <= {*documented()}


@pytest.mark.parametrize("command", sorted({*documented()} - {"support", "logs"}))
def test_every_one_of_them_takes_json(command: str, tmp_path: Path) -> None:
    assert main([command, "--json", "--state", str(tmp_path)]) != USAGE
