"""Every command in the documents is one that the command lines understand."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

import pytest
from sealane_agent.cli.main import main as agent_main
from sealane_manager.cli.main import app as manager_app
from support.repository import documents, relative, shell_lines
from typer.testing import CliRunner

if TYPE_CHECKING:
    from _pytest.mark import ParameterSet


def commands_of(program: str) -> list[ParameterSet]:
    return [
        pytest.param(words[1:], id=f"{relative(document)}: {line}")
        for document in documents()
        for line in shell_lines(document)
        if (words := shlex.split(line))[0] == program
    ]


def refusal_of(words: list[str]) -> str:
    """What the manager's command line has against these words; --help keeps it from acting."""
    result = CliRunner().invoke(manager_app, [*words, "--help"])
    return result.output if result.exit_code else ""


@pytest.mark.parametrize("words", commands_of("sealane"))
def test_a_managers_command_in_a_document_is_understood(words: list[str]) -> None:
    assert refusal_of(words) == ""


@pytest.mark.parametrize("words", commands_of("sealane-agent"))
def test_an_agents_command_in_a_document_is_understood(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="0"):
        agent_main([words[0], "--help"])
    explained = capsys.readouterr().out
    options = [word.partition("=")[0] for word in words if word.startswith("--")]
    assert [option for option in options if option not in explained] == []


@pytest.mark.parametrize("words", [["device", "tokens"], ["device", "token", "--no-such-option"]])
def test_words_that_no_command_understands_are_noticed(words: list[str]) -> None:
    assert refusal_of(words)
