from __future__ import annotations

import cli_document
from sealane_manager.cli.main import app
from typer.testing import CliRunner

COMMANDS = {"init", "serve", "bundle", "release", "trust", "device", "rollout"}


def test_the_document_says_what_the_commands_say_about_themselves() -> None:
    assert cli_document.DOCUMENT.read_text() == cli_document.document(), "run scripts/cli-docs"


def test_the_help_names_every_command_with_a_word_about_it() -> None:
    shown = CliRunner().invoke(app, ["--help"], env={"TERM": "dumb", "COLUMNS": "100"}).stdout
    lines = [line.strip(" │|") for line in shown.splitlines()]
    named = {words[0]: words[1:] for line in lines if (words := line.split())}
    assert set(named) >= COMMANDS
    assert all(named[command] for command in COMMANDS)
