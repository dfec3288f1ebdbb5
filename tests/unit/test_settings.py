"""Configuration files: what they may say, and where a complaint points."""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING

import pytest
from sealane.settings import FILE_BYTES, Catalogue, ConfigurationError, Key
from sealane_agent.cli.main import main as agent_main
from sealane_agent.config import AGENT
from sealane_manager.cli.configured import MANAGER
from sealane_manager.cli.main import app as manager_app
from support.repository import ROOT
from typer.testing import CliRunner

if TYPE_CHECKING:
    from pathlib import Path

BELT = Catalogue(
    program="belt",
    prefix="BELT",
    file="/nowhere/belt.toml",
    keys=(
        Key("name", "left", "name of the belt"),
        Key("motor.port", 80, "TCP port", highest=65535),
        Key("motor.brake", default=True, says="brake at the end"),
        Key("motor.at", "a:1", "host:port", r"\S+:\d+", "host:port"),
    ),
)
DEFAULTS = {"name": "left", "motor.port": 80, "motor.brake": True, "motor.at": "a:1"}


def complaint(text: str) -> str:
    with pytest.raises(ConfigurationError) as caught:
        BELT.read(text.encode(), "belt.toml")
    return str(caught.value)


def test_what_nobody_sets_is_the_default() -> None:
    assert BELT.load(None, {}) == DEFAULTS


def test_the_environment_overrules_the_file(tmp_path: Path) -> None:
    file = tmp_path / "belt.toml"
    file.write_text('name = "right"\n[motor]\nport = 81\n')
    environment = {"BELT_MOTOR_PORT": "82", "BELT_MOTOR_BRAKE": "false"}
    assert BELT.load(file, environment) == DEFAULTS | {
        "name": "right",
        "motor.port": 82,
        "motor.brake": False,
    }


def test_the_environment_names_another_file(tmp_path: Path) -> None:
    file = tmp_path / "other.toml"
    file.write_text('name = "other"\n')
    assert BELT.load(None, {"BELT_CONFIG": str(file)})["name"] == "other"


def test_a_file_that_was_named_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="there is no configuration file"):
        BELT.load(tmp_path / "missing.toml", {})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("\nname = \n", "belt.toml, line 2: invalid value"),
        ('name = "open\n', "belt.toml, line 1: "),
        ("[motor]\nport = 70000\n", "line 2: motor.port must be between 0 and 65535"),
        ('[motor]\n\nport = "80"\n', "line 3: motor.port must be a whole number"),
        ("[motor]\nbrake = 1\n", "line 2: motor.brake must be true or false"),
        ("[motor]\nport = true\n", "line 2: motor.port must be a whole number"),
        ('[motor]\nat = "here"\n', "line 2: motor.at must be host:port, not 'here'"),
        ("# a belt\nspeed = 3\n", "line 2: there is no key speed"),
        ("motor.speed = 3\n", "line 1: there is no key motor.speed"),
        ("[[motor]]\nport = 1\n", "motor"),
    ],
)
def test_a_complaint_names_the_line(text: str, said: str) -> None:
    assert said in complaint(text)


def test_every_complaint_is_made_at_once() -> None:
    said = complaint('speed = 3\nname = 4\n[motor]\nport = "x"\n')
    assert [f"line {number}" in said for number in (1, 2, 3, 4)] == [True, True, False, True]


def test_a_file_that_is_no_text_is_refused_with_its_line() -> None:
    with pytest.raises(ConfigurationError, match="line 2: it is not UTF-8"):
        BELT.read(b"name = 'left'\n\xff\n", "belt.toml")


def test_a_file_without_end_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="larger than"):
        BELT.read(b"#" * (FILE_BYTES + 1), "belt.toml")


@pytest.mark.parametrize(
    "environment", [{"BELT_MOTOR_PORT": "many"}, {"BELT_MOTOR_BRAKE": "perhaps"}]
)
def test_a_variable_that_cannot_be_read_is_named(environment: dict[str, str]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(environment))):
        BELT.from_environment(environment)


@pytest.mark.parametrize("catalogue", [AGENT, MANAGER, BELT], ids=lambda each: each.program)
def test_the_explained_file_sets_nothing_and_its_examples_are_the_defaults(
    catalogue: Catalogue,
) -> None:
    explained = catalogue.document()
    assert catalogue.read(explained.encode(), "file") == {}
    examples = [line[2:] if " = " in line else line for line in explained.splitlines()]
    text = "\n".join(line for line in examples if " = " in line or line.startswith("["))
    assert catalogue.read(text.encode(), "file") == catalogue.load(None, {})
    tomllib.loads(text)


@pytest.mark.parametrize(("catalogue", "name"), [(AGENT, "agent"), (MANAGER, "manager")])
def test_the_packages_bring_the_explained_file(catalogue: Catalogue, name: str) -> None:
    packed = ROOT / "packaging" / "config" / f"{name}.toml"
    assert packed.read_text() == catalogue.document()


@pytest.mark.parametrize("catalogue", [AGENT, MANAGER], ids=lambda each: each.program)
def test_every_key_stands_in_the_reference(catalogue: Catalogue) -> None:
    reference = (ROOT / "docs" / "configuration.md").read_text()
    for key in catalogue.keys:
        default = str(key.default).lower() if isinstance(key.default, bool) else key.default
        row = f"| `{key.name}` | `{default or ' '}` | {key.says} | "
        assert f"{row}`{catalogue.variable(key.name)}` |" in reference


def test_the_agent_checks_its_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "agent.toml"
    file.write_text('[endpoint]\nrest = "0.0.0.0:80"\n')
    assert agent_main(["check-config", str(file)]) == 0
    assert "endpoint.rest = 0.0.0.0:80" in capsys.readouterr().out
    file.write_text("[endpoint]\nrust = 3\n")
    assert agent_main(["check-config", str(file)]) == 1
    assert "line 2: there is no key endpoint.rust" in capsys.readouterr().err


def test_the_manager_takes_its_ports_from_the_file_unless_it_is_told_otherwise(
    tmp_path: Path,
) -> None:
    file = tmp_path / "manager.toml"
    file.write_text(f'state = "{tmp_path / "none"}"\n[ports]\nfleet = 1\n')
    result = CliRunner().invoke(manager_app, ["serve", "--config", str(file)])
    assert f"there is no fleet in {tmp_path / 'none'}" in result.output
    result = CliRunner().invoke(manager_app, ["serve", str(tmp_path), "--config", str(file)])
    assert f"there is no fleet in {tmp_path}\n" in result.output
    file.write_text("[ports]\nfleet = -1\n")
    result = CliRunner().invoke(manager_app, ["check-config", str(file)])
    assert (result.exit_code, "line 2: ports.fleet" in result.output) == (1, True)
