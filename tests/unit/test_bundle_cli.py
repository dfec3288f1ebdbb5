import json
from pathlib import Path

import pytest
from sealane.bundle.layout import blob_path
from sealane_manager.cli.bundle import app
from support.bundles import tiny_bundle, tiny_manifest
from support.models import write_data, write_tiny
from typer.testing import CliRunner

RUNNER = CliRunner()


def pack_arguments(folder: Path) -> list[str]:
    model, data = str(write_tiny(folder)), str(write_data(folder))
    return ["pack", model, "--model", "demo/tiny", "--data", data, "--out", str(folder / "b")]


def test_pack_prints_the_digest_and_what_was_proven(tmp_path: Path) -> None:
    names = ("--label", "good", "--label", "bad", "--label", "ugly")
    result = RUNNER.invoke(app, [*pack_arguments(tmp_path), *names])
    assert result.exit_code == 0
    assert "sha256:" in result.stdout
    assert "off by 0" in result.stdout


def test_pack_names_what_is_no_folder_before_it_proves_anything(tmp_path: Path) -> None:
    (tmp_path / "plain").write_text("a file")
    arguments = [*pack_arguments(tmp_path)[:-1], str(tmp_path / "plain" / "deep" / "b")]
    result = RUNNER.invoke(app, arguments)
    assert result.exit_code == 1
    told = f"error: {tmp_path / 'plain'} is no folder\nhint: name another place\n"
    assert (result.stderr, result.stdout) == (told, "")


def test_pack_speaks_json(tmp_path: Path) -> None:
    options = ("--probation-seconds", "4", "--probation-requests", "30", "-o", "json")
    result = RUNNER.invoke(app, [*pack_arguments(tmp_path), *options])
    assert json.loads(result.stdout)["probation"] == "4 s"
    shown = RUNNER.invoke(app, ["inspect", str(tmp_path / "b"), "-o", "json"])
    contract = json.loads(shown.stdout)["deployment"]
    assert contract["probation"]["min_requests"] == 30


def test_pack_says_by_what_devices_choose_and_inspect_shows_it(tmp_path: Path) -> None:
    wanted = ("--objective", "memory", "--within-ms", "20")
    result = RUNNER.invoke(app, [*pack_arguments(tmp_path), *wanted, "-o", "json"])
    assert json.loads(result.stdout)["objective"] == "memory, within 20 ms"
    shown = RUNNER.invoke(app, ["inspect", str(tmp_path / "b")])
    assert "memory, within 20 ms" in shown.stdout
    told = RUNNER.invoke(app, ["inspect", str(tmp_path / "b"), "-o", "json"])
    contract = json.loads(told.stdout)["deployment"]
    assert contract["objective"] == {"by": "memory", "within_ms": 20.0}


@pytest.mark.parametrize(
    "wrong", [("--objective", "watts"), ("--within-ms", "-1"), ("--within-ms", "soon")]
)
def test_pack_refuses_an_objective_that_there_is_not(
    tmp_path: Path, wrong: tuple[str, str]
) -> None:
    result = RUNNER.invoke(app, [*pack_arguments(tmp_path), *wrong])
    assert result.exit_code == 2
    assert wrong[0] in result.stderr
    assert not (tmp_path / "b").exists()


def test_pack_without_data_fails_in_one_line_with_a_hint(tmp_path: Path) -> None:
    out = str(tmp_path / "b")
    arguments = ["pack", str(write_tiny(tmp_path)), "--model", "demo/tiny", "--out", out]
    result = RUNNER.invoke(app, arguments)
    assert result.exit_code == 1
    assert len(result.stderr.splitlines()) == 2
    assert "hint: give --data" in result.stderr


def test_inspect_and_verify_need_no_manager(tmp_path: Path) -> None:
    folder = str(tiny_bundle(tmp_path / "b"))
    for command in ("inspect", "verify"):
        result = RUNNER.invoke(app, [command, folder])
        assert result.exit_code == 0
        assert tiny_manifest().digest in result.stdout


def test_verify_fails_for_a_changed_byte(tmp_path: Path) -> None:
    folder = tiny_bundle(tmp_path / "b")
    path = blob_path(folder, tiny_manifest().layers[0].digest)
    path.write_bytes(path.read_bytes().replace(b"demo", b"Demo"))
    result = RUNNER.invoke(app, ["verify", str(folder)])
    assert result.exit_code == 1
    assert "deployment.json was changed" in result.stderr


def test_publish_without_the_familys_key_says_so(tmp_path: Path) -> None:
    folder = str(tiny_bundle(tmp_path / "b"))
    arguments = ["publish", folder, "--release", "demo/tiny@1", "--keys", str(tmp_path)]
    result = RUNNER.invoke(app, arguments)
    assert result.exit_code == 1
    assert "the key demo.pem is not on this machine" in result.stderr
    assert "sealane trust show" in result.stderr


@pytest.mark.parametrize("release", ["demo", "demo/tiny", "demo/tiny@0"])
def test_publish_under_a_malformed_name_fails(tmp_path: Path, release: str) -> None:
    result = RUNNER.invoke(app, ["publish", str(tmp_path), "--release", release])
    assert result.exit_code == 1
    assert "is not a release name" in result.stderr


def test_what_is_no_producers_key_says_how_to_write_one(tmp_path: Path) -> None:
    other = tmp_path / "other.pem"
    other.write_text("no key")
    words = ["verify", str(tiny_bundle(tmp_path / "b")), "--producer-key", str(other)]
    result = RUNNER.invoke(app, words)
    assert "other.pem is no public key in PEM" in result.stderr
    assert "openssl ec -in KEY -pubout" in result.stderr
