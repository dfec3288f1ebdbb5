"""How a machine becomes a device, and what is left when it does not."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from sealane.names import DeviceId
from sealane.trust import anchor
from sealane.trust.token import JoinToken
from sealane_agent.cli.main import main
from sealane_agent.config import Identity, IdentityFiles
from sealane_agent.errors import AlreadyEnrolled, Refused
from sealane_agent.identity.enroll import Enrolment
from sealane_agent.identity.membership import Admission
from sealane_agent.layout import StateFolder
from support.agent_fakes import CAM
from support.passports import WHO, Office
from support.trust import Simulator

if TYPE_CHECKING:
    from pathlib import Path

    from sealane_agent.identity.membership import Application

TOKEN = JoinToken("127.0.0.1:1", b"ca", bytes(32), "1.t", "secret")


class Taken:
    """A manager on which every name is taken; it remembers the requests."""

    def __init__(self) -> None:
        self.requests: list[bytes] = []

    def __call__(self, _address: str, _ca: bytes, application: Application) -> Admission:
        self.requests.append(application.csr)
        raise Refused(f"another device is called {application.name} already")


def _try(folder: StateFolder, ask: Taken, name: str) -> bytes:
    with pytest.raises(Refused):
        Enrolment(folder, ask).run(TOKEN, name)
    return IdentityFiles(folder.identity).key.read_bytes()


def test_a_machine_that_was_refused_asks_again_with_the_key_that_used_the_token(
    tmp_path: Path,
) -> None:
    folder, ask = StateFolder(tmp_path), Taken()
    first = _try(folder, ask, "box-1")
    again = _try(folder, ask, "box-2")
    assert first == again
    assert len(ask.requests) == 2


def test_a_machine_that_was_refused_is_not_enrolled(tmp_path: Path) -> None:
    folder = StateFolder(tmp_path)
    _try(folder, Taken(), "box-1")
    assert [path.name for path in folder.identity.iterdir()] == ["device.key"]


def test_where_a_device_is_enrolled_already_no_token_is_looked_at(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = StateFolder(tmp_path)
    folder.identity.mkdir()
    IdentityFiles(folder.identity).description.write_bytes(
        Identity(DeviceId("box-1"), "plant", "127.0.0.1:1").encode()
    )
    given = ("enroll", "--token-file", str(tmp_path / "gone"), "--state", str(tmp_path))
    assert main([*given, "--if-needed"]) == 0
    assert capsys.readouterr().out == "enrolled already\n"
    assert main(given) == 1


def test_a_device_on_which_nothing_runs_fails_its_check(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = StateFolder(tmp_path)
    folder.identity.mkdir()
    IdentityFiles(folder.identity).description.write_bytes(
        Identity(DeviceId("box-1"), "plant", "127.0.0.1:1").encode()
    )
    assert main(["status", "--state", str(tmp_path)]) == 0
    assert main(["status", "--state", str(tmp_path), "--check"]) == 1
    assert "does not run" in capsys.readouterr().out


@pytest.mark.parametrize("lost", ["highwater.json", "bootstrap-root.json"])
def test_a_device_that_forgot_what_it_has_seen_is_enrolled_once_more_where_it_is(
    tmp_path: Path, lost: str
) -> None:
    office, root = Office(tmp_path), Simulator().first_root
    files, folder = office.enrolled(tmp_path), StateFolder(tmp_path)
    digest = hashlib.sha256(root).digest()
    token = replace(TOKEN, ca=office.issuer.certificate, root_sha256=digest)
    anchor.bootstrap(folder.trust, root, token.root_sha256)
    asked: list[Application] = []

    def ask(_address: str, _ca: bytes, application: Application) -> Admission:
        asked.append(application)
        return Admission(WHO.device, WHO.fleet, office.sign(application.csr), WHO.address, root)

    enrolment = Enrolment(folder, ask, office.clock)
    with pytest.raises(AlreadyEnrolled):
        enrolment.run(token, "")
    key, slot = files.key.read_bytes(), folder.pointer(CAM, "lkg")
    slot.parent.mkdir(parents=True)
    slot.write_bytes(b"what serves")
    (folder.trust / lost).unlink()
    assert enrolment.run(token, "").device == WHO.device
    assert [application.name for application in asked] == [WHO.device]
    assert (files.key.read_bytes(), slot.read_bytes()) == (key, b"what serves")
    assert anchor.remembers(folder.trust)
    with pytest.raises(AlreadyEnrolled):
        enrolment.run(token, "")
