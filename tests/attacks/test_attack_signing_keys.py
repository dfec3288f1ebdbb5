"""Signing keys that never leave a token (SoftHSM stands for one) or a service."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from sealane_manager.cli.main import app
from sealane_manager.trust.change_codec import Carried, decode_file, encode_file
from sealane_manager.trust.changes import encode
from sealane_manager.trust.edits import KeyEdit, edited, renewed
from sealane_manager.trust.proposals import look, offer_of
from sealane_manager.trust.signers import read_public
from support import tokens
from support.ceremony import Ceremony, begin
from typer.testing import CliRunner

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

URI = "hsm:2?label=edge"
_GENERATE = f"""
from pkcs11 import Attribute, KeyType, lib
from pkcs11.util.ec import encode_named_curve_parameters
token = lib({str(tokens.SOFTHSM)!r}).get_token(token_label="edge")
with token.open(rw=True, user_pin={tokens.PIN!r}) as session:
    curve = {{Attribute.EC_PARAMS: encode_named_curve_parameters("secp256r1")}}
    session.create_domain_parameters(KeyType.EC, curve, local=True).generate_keypair(
        store=True, id=b"\\x02", label="root"
    )
"""


@dataclass(frozen=True)
class Desk:
    """A holder's machine with a token in it."""

    home: Path
    environment: Mapping[str, str]

    def sealane(self, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [Path(sys.executable).with_name("sealane"), *words],
            env={**os.environ, **self.environment, **environment},
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    home = tmp_path / "home"
    home.mkdir()
    with tokens.softhsm(tmp_path / "token") as (_, found):
        pin = str(tmp_path / "token" / "pin")
        environment = {**found, "PYKCS11LIB": str(tokens.SOFTHSM), "SEALANE_PIN_FILE": pin}
        subprocess.run(
            [sys.executable, "-c", _GENERATE], env=os.environ | environment, check=True, timeout=120
        )
        yield Desk(home, environment)


def carried(plant: Ceremony, file: Path) -> None:
    found = look(plant.desk)
    current = {role: encode(document) for role, document in found.current.items()}
    file.write_bytes(encode_file(Carried("acme", plant.desk.changes(), current)))


@pytest.mark.slow
@pytest.mark.skipif(not (tokens.HAS_SOFTHSM or tokens.REQUIRED), reason="apt-get install softhsm2")
def test_a_root_key_in_a_token_signs_and_never_lies_on_the_disk(desk: Desk, tmp_path: Path) -> None:
    made = desk.sealane("trust", "new-key", "tom", "--uri", URI, "--out", str(desk.home))
    assert made.returncode == 0, made.stderr
    (public,) = desk.home.iterdir()
    assert json.loads(public.read_bytes())["x-uri"] == URI
    plant = begin(tmp_path / "plant")
    edit = KeyEdit("root", (read_public(public),), ("eva",))
    plant.propose(lambda ground: edited(ground, [edit]))
    plant.sign("ana", "ben")
    assert plant.version("root") == 2
    plant.propose(lambda ground: renewed(ground, "root"))
    plant.sign("ana")
    file = tmp_path / "changes.json"
    carried(plant, file)
    sign = ("trust", "sign", str(file), "--key", str(public), "--yes")
    for trouble, complaint in _TROUBLES.items():
        refused = desk.sealane(*sign, **dict([trouble]))
        assert refused.returncode == 1, refused.stdout
        assert complaint in refused.stderr
        assert "hint: " in refused.stderr
        assert "Traceback" not in refused.stderr
        assert _signatures(file) == 1
    signed = desk.sealane(*sign)
    assert signed.returncode == 0, signed.stderr
    assert _signatures(file) == 2
    (change,) = decode_file(file.read_bytes()).changes
    assert plant.desk.submit(offer_of(change)).published == ("root",)
    assert plant.version("root") == 3
    for path in desk.home.iterdir():
        assert b"PRIVATE" not in path.read_bytes(), path


_TROUBLES = {
    ("PYKCS11LIB", ""): "PYKCS11LIB environment variable must be set",
    ("SOFTHSM2_CONF", "/dev/null"): "could not sign",
    ("SEALANE_PIN_FILE", "/dev/null"): "could not sign",
}
"""What is wrong with the machine, and what is said of it."""


def _signatures(file: Path) -> int:
    (change,) = decode_file(file.read_bytes()).changes
    return len(change.document.signatures)


_WITHOUT = """
import sys
sys.modules["pkcs11"] = None  # as if the extra were not installed
from sealane_manager.cli.main import app
app()
"""


@pytest.mark.slow
def test_a_missing_library_for_tokens_is_named_with_what_installs_it(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _WITHOUT, "trust", "new-key", "tom", "--uri", URI],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 1
    assert "'python-pkcs11' required" in done.stderr
    assert "pip install 'sealane-manager[hsm]'" in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("uri", "library"),
    [
        ("awskms:alias/releases", "securesystemslib[awskms]"),
        ("gcpkms:projects/plant/locations/global/keyRings/r/cryptoKeys/k", "[gcpkms]"),
        ("azurekms:plant/releases", "[azurekms]"),
        ("hv:releases", "[vault]"),
    ],
)
def test_a_missing_library_for_a_service_is_named_with_what_installs_it(
    tmp_path: Path, uri: str, library: str
) -> None:
    """The services' own libraries are no part of Sealane: here none of them is installed."""
    done = CliRunner().invoke(
        app, ["trust", "new-key", "tom", "--uri", uri, "--out", str(tmp_path / "home")]
    )
    assert done.exit_code == 1
    assert f"{uri} cannot be used" in done.stderr
    assert "pip install" in done.stderr
    assert library in done.stderr
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize(
    ("uri", "complaint"),
    [
        ("hsm:first?label=edge", "cannot be used"),
        ("file:/etc/shadow", "is no key that can be imported"),
        ("file2:/etc/shadow", "is no key that can be imported"),
        ("gnupg:", "is no key that can be imported"),
        ("nothing", "is no key that can be imported"),
        ("hsm:[", "cannot be used"),
        ("hsm://[", "cannot be used"),
    ],
)
def test_an_address_that_names_no_key_is_refused(tmp_path: Path, uri: str, complaint: str) -> None:
    done = CliRunner().invoke(
        app, ["trust", "new-key", "tom", "--uri", uri, "--out", str(tmp_path / "home")]
    )
    assert done.exit_code in (1, 3)
    assert complaint in done.stderr
    assert "hint: " in done.stderr


@pytest.mark.parametrize("holder", ["../tom", "Tom", "", "tom/ana", "t" * 300, "tom\n"])
def test_a_holders_name_leads_out_of_no_folder(tmp_path: Path, holder: str) -> None:
    (tmp_path / "home").mkdir()
    done = CliRunner().invoke(app, ["trust", "new-key", holder, "--out", str(tmp_path / "home")])
    assert done.exit_code != 0
    assert not list((tmp_path / "home").iterdir())
    assert [path.name for path in tmp_path.iterdir()] == ["home"]
