"""The agent's command line loads one command, and knows them all."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from sealane_agent.cli.main import COMMANDS, main

if TYPE_CHECKING:
    from pathlib import Path


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


@pytest.mark.slow
def test_a_reader_that_leaves_early_is_no_error_worth_a_word(tmp_path: Path) -> None:
    told = tmp_path / "log"
    told.write_text("a line\n" * 50_000)
    command = [sys.executable, "-m", "sealane_agent.cli.main", "logs", "--lines", "10000"]
    with subprocess.Popen(
        [*command, "--file", str(told)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert (process.stderr.read(), process.wait(60)) == (b"", 1)
