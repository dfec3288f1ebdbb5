"""sealane init and sealane trust, as people type them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pytest
import typer
from sealane_manager.cli import authority, init, serve, trust
from typer.testing import CliRunner, Result

app = typer.Typer()
app.command("init")(init.command)
app.command("serve")(serve.command)
app.add_typer(authority.app, name="authority")
app.add_typer(trust.app, name="trust")


def _run(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


@pytest.fixture
def state(tmp_path: Path) -> str:
    state = str(tmp_path / "state")
    result = _run("init", state, "--fleet", "acme", "--host", "localhost", "--family", "digits")
    assert result.exit_code == 0
    return state


def test_init_prints_fingerprints_and_warns_loudly(tmp_path: Path) -> None:
    result = _run("init", str(tmp_path / "s"), "--fleet", "acme", "--host", "localhost")
    assert "DEVELOPMENT MODE" in result.stderr
    assert "root.json       sha256:" in result.stdout
    assert "CA certificate  sha256:" in result.stdout
    assert "key director" in result.stdout


def test_init_refuses_to_overwrite_with_its_own_exit_code(state: str) -> None:
    result = _run("init", state, "--fleet", "acme", "--host", "localhost")
    assert result.exit_code == 3
    assert "not empty" in result.stderr


def test_init_without_a_host_is_a_usage_error(tmp_path: Path) -> None:
    assert _run("init", str(tmp_path / "s"), "--fleet", "acme").exit_code == 2


def test_show_lists_every_role_and_repeats_the_warning(state: str) -> None:
    result = _run("trust", "show", "--state", state)
    assert result.exit_code == 0
    for word in ("root", "targets", "snapshot", "timestamp", "director", "digits"):
        assert word in result.stdout
    assert "development mode" in result.stderr


def test_show_as_json_has_whole_keys_and_times(state: str) -> None:
    roles = json.loads(_run("trust", "show", "--state", state, "-o", "json").stdout)
    by_name = {role["role"]: role for role in roles}
    assert len(by_name["root"]["keys"][0]) == 64
    assert by_name["director"]["expires"] is None
    assert by_name["digits"]["version"] == 1


def test_show_without_a_fleet_says_how_to_make_one(tmp_path: Path) -> None:
    result = _run("trust", "show", "--state", str(tmp_path))
    assert result.exit_code == 1
    assert "sealane init" in result.stderr


def test_a_family_is_added_and_then_shown(state: str) -> None:
    assert _run("trust", "add-family", "vision", "--state", state).exit_code == 0
    assert "vision/*" in _run("trust", "show", "--state", state, "-o", "json").stdout
    again = _run("trust", "add-family", "vision", "--state", state)
    assert again.exit_code == 3
    assert "exists already" in again.stderr


def test_a_family_is_removed_and_may_be_added_again(state: str) -> None:
    assert _run("trust", "add-family", "vision", "--state", state).exit_code == 0
    gone = _run("trust", "remove-family", "vision", "--state", state, "--reason", "no more")
    assert (gone.exit_code, "published: targets" in gone.stdout) == (0, True), gone.output
    assert "vision/*" not in _run("trust", "show", "--state", state, "-o", "json").stdout
    again = _run("trust", "remove-family", "vision", "--state", state)
    assert (again.exit_code, "no family 'vision'" in again.stderr) == (1, True)
    assert _run("trust", "add-family", "vision", "--state", state).exit_code == 0
    assert "vision/*" in _run("trust", "show", "--state", state, "-o", "json").stdout


@pytest.mark.parametrize("role", ["root", "targets", "snapshot", "director", "sample"])
def test_a_role_of_its_own_is_no_family_that_could_be_removed(state: str, role: str) -> None:
    result = _run("trust", "remove-family", role, "--state", state)
    assert (result.exit_code, f"{role} is no family" in result.stderr) == (3, True)


def test_init_where_a_fleet_is_does_nothing_when_that_is_what_was_asked(state: str) -> None:
    before = {path: path.stat().st_mtime_ns for path in Path(state).rglob("*")}
    again = _run("init", state, "--fleet", "other", "--host", "localhost", "--if-needed")
    assert (again.exit_code, again.stdout) == (0, f"{state} holds a fleet already\n")
    assert {path: path.stat().st_mtime_ns for path in Path(state).rglob("*")} == before


@dataclass(frozen=True)
class Desk:
    """A production fleet that waits for its first signatures, and its holders' keys."""

    state: str
    home: Path

    def public(self, name: str) -> str:
        return str(self.home / f"{name}.pub.json")

    def key(self, name: str) -> str:
        return str(self.home / f"{name}.pem")

    def sign(self, *names: str) -> Result:
        keys = [word for name in names for word in ("--key", self.key(name))]
        return _run("trust", "sign", *keys, "--yes", "--state", self.state)


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    made = Desk(str(tmp_path / "state"), tmp_path / "home")
    (tmp_path / "passphrase").write_text("correct horse\nsecond line\n")
    monkeypatch.setenv("SEALANE_PASSPHRASE_FILE", str(tmp_path / "passphrase"))
    for name in ("ana", "ben", "kim"):
        assert _run("trust", "new-key", name, "--out", str(made.home)).exit_code == 0
    result = _run(
        *("trust", "init", made.state, "--fleet", "acme", "--host", "localhost"),
        *("--root-key", made.public("ana"), "--root-key", made.public("ben")),
        *("--targets-key", made.public("kim"), "--family", f"digits=1:{made.public('kim')}"),
    )
    assert result.exit_code == 0, result.stderr
    return made


def test_a_production_fleet_begins_when_its_holders_have_signed(desk: Desk) -> None:
    waits = _run("trust", "status", "--state", desk.state)
    assert "needs 2 of the keys of root 1, which is proposed: 2 more, from ana" in waits.stdout
    early = _run("serve", desk.state)
    assert early.exit_code == 1
    assert "not signed by enough of its holders yet" in early.stderr
    assert "nothing is published yet" in desk.sign("ana").stdout
    assert "published: root, targets, digits" in desk.sign("ben", "kim").stdout
    assert "no change waits" in _run("trust", "status", "--state", desk.state).stdout
    shown = _run("trust", "show", "--state", desk.state)
    assert "ana ben" in shown.stdout
    assert "development" not in shown.stderr


def test_changes_are_carried_signed_and_submitted_in_a_file(desk: Desk, tmp_path: Path) -> None:
    file = str(tmp_path / "first.json")
    assert "it holds no secret" in _run("trust", "export", file, "--state", desk.state).stdout
    keys = [word for name in ("ana", "ben", "kim") for word in ("--key", desk.key(name))]
    signed = _run("trust", "sign", file, *keys, "--yes")
    assert "4 signatures are in" in signed.stdout
    assert "root gets the key of ana" in signed.stdout
    done = _run("trust", "submit", file, "--state", desk.state)
    assert "published: root, targets, digits" in done.stdout
    again = _run("trust", "submit", file, "--state", desk.state)
    assert again.exit_code == 3
    assert "not the one that waits now" in again.stderr
    assert _run("trust", "export", file, "--state", desk.state).exit_code == 3


def test_who_does_not_say_yes_signs_nothing(desk: Desk) -> None:
    arguments = ("trust", "sign", "--key", desk.key("ana"), "--state", desk.state)
    result = CliRunner().invoke(app, arguments, input="n\n")
    assert "check: is this all that you were told" in result.stdout
    rows = json.loads(_run("trust", "status", "--state", desk.state, "-o", "json").stdout)
    assert all(not demand["signed"] for row in rows for demand in row["demands"])


def test_a_wrong_passphrase_is_said_so(desk: Desk, tmp_path: Path) -> None:
    (tmp_path / "passphrase").write_text("wrong\n")
    result = desk.sign("ana")
    assert result.exit_code == 1
    assert "the passphrase is wrong" in result.stderr


def test_a_key_is_never_overwritten(desk: Desk) -> None:
    result = _run("trust", "new-key", "ana", "--out", str(desk.home))
    assert result.exit_code == 3
    assert "never overwritten" in result.stderr


def test_a_short_passphrase_and_anothers_public_file_are_refused(
    desk: Desk, tmp_path: Path
) -> None:
    Path(desk.key("ana")).unlink()
    kept = _run("trust", "new-key", "ana", "--out", str(desk.home))
    assert (kept.exit_code, "ana.pub.json exists" in kept.stderr) == (3, True)
    for short in ("", "short"):
        (tmp_path / "passphrase").write_text(short)
        result = _run("trust", "new-key", "zoe", "--out", str(desk.home))
        assert (result.exit_code, "a passphrase has 8 to" in result.stderr) == (3, True)
    assert not Path(desk.key("zoe")).exists()


def test_a_private_key_file_is_encrypted_and_its_owners_alone(desk: Desk) -> None:
    path = Path(desk.key("ana"))
    assert b"ENCRYPTED PRIVATE KEY" in path.read_bytes()
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"keyid": "0" * 64}, "its id is not that of its key"),
        ({"x-holder": "../ana"}, "it does not say whose it is"),
        ({"x-holder": 7}, "it does not say whose it is"),
        ({"keyval": {}}, "is not a public key file"),
        ({"x-uri": "file2:/etc/shadow"}, "no known place"),
    ],
)
def test_a_public_key_file_that_somebody_changed_is_refused(
    desk: Desk, change: dict[str, object], complaint: str
) -> None:
    path = Path(desk.public("ana"))
    path.write_text(json.dumps(json.loads(path.read_bytes()) | change))
    result = _run("trust", "add-key", "root", str(path), "--state", desk.state)
    assert result.exit_code == 1
    assert complaint in result.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "complaint"),
    [
        (("sign",), 3, "nobody signs"),
        (("rotate", "root"), 3, "exchanged for another"),
        (("add-key", "director", "{ana}"), 3, "a key of the manager alone"),
        (("revoke-key", "root", "nobody"), 1, "means no key of root"),
        (("withdraw", "vision"), 1, "no change of vision waits"),
        (("renew", "vision"), 1, "no metadata that could be renewed"),
        (("add-family", "digits", "--key", "{kim}"), 3, "exists already"),
        (("add-family", "root", "--key", "{kim}"), 3, "a role of its own"),
        (("new-key", "zoe", "--uri", "ftp:1"), 3, "no key that can be imported"),
    ],
)
def test_what_cannot_be_done_says_why_and_what_to_do(
    desk: Desk, arguments: tuple[str, ...], code: int, complaint: str
) -> None:
    names = {name: desk.public(name) for name in ("ana", "kim")}
    words = [word.format(**names) for word in arguments]
    place = [] if words[0] == "new-key" else ["--state", desk.state]
    result = _run("trust", *words, *place)
    assert complaint in result.stderr
    assert result.exit_code == code


def test_the_managers_own_key_is_exchanged_on_its_machine(desk: Desk) -> None:
    desk.sign("ana", "ben", "kim")
    said = _run("trust", "rotate", "timestamp", "--state", desk.state)
    assert "timestamp gets the key of" in said.stdout
    assert "published: root" in desk.sign("ana", "ben").stdout
    keys = sorted(path.name for path in (Path(desk.state) / "keys").iterdir())
    assert len(keys) == 3
    assert "timestamp.pem" not in keys


def test_an_authority_is_replaced_when_the_targets_holders_have_signed(desk: Desk) -> None:
    desk.sign("ana", "ben", "kim")
    place = ("--state", desk.state)
    waits = _run("authority", "prepare", *place)
    assert "devices believe the certificate authorities in a ca.pem" in waits.stdout
    assert "once more: sealane authority prepare" in waits.stdout
    early = _run("authority", "switch", *place)
    assert (early.exit_code, "no device was told yet" in early.stderr) == (3, True)
    assert "published: targets" in desk.sign("kim").stdout
    assert "devices believe both" in _run("authority", "prepare", *place).stdout
    assert "restart the manager" in _run("authority", "switch", *place).stdout
    retired = _run("authority", "retire", *place, "--targets-key", desk.key("kim"))
    assert "restart the manager" in retired.stdout
