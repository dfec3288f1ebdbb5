"""The agent's command line loads one command, and knows them all."""

from __future__ import annotations

import re

import pytest
from sealane_agent.cli.main import COMMANDS, main


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_is_in_the_file_that_the_table_names(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="0"):
        main([command, "--help"])
    assert capsys.readouterr().out.startswith(f"usage: sealane-agent {command} ")


def test_help_lists_every_command_that_the_files_add(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["--help"])
    listed = re.findall(r"^ {4}([a-z-]+)", capsys.readouterr().out, re.MULTILINE)
    assert listed == list(COMMANDS)


@pytest.mark.parametrize("words", [[], ["no-such-command"], ["--no-such-option", "run"]])
def test_words_that_name_no_command_are_answered_with_all_of_them(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(words)
    assert "usage: sealane-agent" in capsys.readouterr().err
