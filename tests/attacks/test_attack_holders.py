"""A holder's own machine against a manager, or a carried file, that says what is false."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pytest
from sealane.errors import SealaneError
from sealane_manager.cli.main import app
from sealane_manager.cli.signing import Pen
from sealane_manager.errors import NotKnown, Refused
from sealane_manager.layout import StateFolder
from sealane_manager.trust import changes
from sealane_manager.trust.ceremony import Founding, init_production
from sealane_manager.trust.change_codec import Carried, decode_file, encode_file
from sealane_manager.trust.edits import KeyEdit, edited, renewed
from sealane_manager.trust.memory import FLEETS, memory_of, recall
from sealane_manager.trust.proposals import look, root_first
from support.ceremony import Ceremony, begin
from support.holders import PASSPHRASE
from typer.testing import CliRunner, Result

if TYPE_CHECKING:
    from pathlib import Path

    from sealane_manager.trust.changes import Change, Offer, Outcome
    from sealane_manager.trust.proposals import TrustDesk


@pytest.fixture
def plant(tmp_path: Path) -> Ceremony:
    return begin(tmp_path)


@pytest.fixture
def double(plant: Ceremony, tmp_path: Path) -> Ceremony:
    """Another fleet of the same name and with the same holders: what a thief would build."""
    thief = Ceremony(tmp_path / "thief")
    thief.holders = {name: plant.holder(name) for name in ("ana", "ben", "eva", "kim", "lea")}
    offline = {
        "root": thief.trustees(1, "rob", "ana"),
        "targets": thief.trustees(1, "rob"),
        "digits": thief.trustees(1, "rob", "lea"),
    }
    init_production(thief.state, Founding("acme", ("localhost",), offline))
    thief.sign("rob")
    return thief


def pen(plant: Ceremony, name: str) -> Pen:
    return Pen(plant.holder(name).private, plant.holder(name).signer)


@dataclass(frozen=True)
class Liar:
    """A manager that answers some questions falsely."""

    desk: TrustDesk
    answers: dict[str, bytes | None]

    def get_metadata(self, role: str) -> bytes:
        if role not in self.answers:
            return self.desk.get_metadata(role)
        answer = self.answers[role]
        if answer is None:
            raise NotKnown(f"there is no {role}")
        return answer

    def changes(self) -> tuple[Change, ...]:
        return self.desk.changes()

    def submit(self, offer: Offer) -> Outcome:
        return self.desk.submit(offer)

    def withdraw(self, role: str) -> None:
        self.desk.withdraw(role)


def test_a_key_follows_the_root_as_a_device_does(plant: Ceremony) -> None:
    lea = pen(plant, "lea")
    lea.look(plant.desk, "acme")
    for name in ("zoe", "uwe", "ida"):
        edit = KeyEdit("root", (plant.holder(name).key,))
        plant.propose(lambda ground, edit=edit: edited(ground, [edit]))  # type: ignore[misc]  # mypy takes no default of a lambda
        plant.sign("ana", "ben")
    assert plant.version("root") == 4
    lea.look(plant.desk, "acme")
    known = recall(lea.path, "acme")
    assert known is not None
    assert known.signed.version == 4


def test_another_fleet_under_the_same_name_is_not_signed_for(
    plant: Ceremony, double: Ceremony
) -> None:
    lea = pen(plant, "lea")
    lea.look(plant.desk, "acme")
    double.propose(lambda ground: renewed(ground, "digits"))
    with pytest.raises(Refused, match="it is another root 1 than the one that this key has seen"):
        lea.look(double.desk, "acme")
    double.propose(lambda ground: renewed(ground, "root"))
    double.sign("rob")
    assert double.version("root") == 2
    with pytest.raises(Refused, match="root 2 is not signed by enough keys of the one before"):
        lea.look(double.desk, "acme")


def test_a_fleet_is_not_begun_a_second_time_with_the_same_keys(plant: Ceremony) -> None:
    lea = pen(plant, "lea")
    nothing = Liar(plant.desk, {"root": None, "targets": None})
    lea.look(nothing, "acme")  # it may be new
    lea.look(plant.desk, "acme")
    with pytest.raises(Refused, match="has seen root 1 of this fleet, here is none"):
        lea.look(nothing, "acme")


def test_an_older_root_than_the_key_has_seen_is_refused(plant: Ceremony) -> None:
    old = plant.repository.current("root")
    plant.propose(lambda ground: renewed(ground, "root"))
    plant.sign("ana", "ben")
    lea = pen(plant, "lea")
    lea.look(plant.desk, "acme")
    with pytest.raises(Refused, match="has seen root 2 already, here is 1"):
        lea.look(Liar(plant.desk, {"root": old}), "acme")


@pytest.mark.parametrize("answer", ["nothing", "another one", "the newest"])
def test_a_root_that_is_left_out_is_not_stepped_over(plant: Ceremony, answer: str) -> None:
    lea = pen(plant, "lea")
    lea.look(plant.desk, "acme")
    for _ in range(2):
        plant.propose(lambda ground: renewed(ground, "root"))
        plant.sign("ana", "ben")
    between = {
        "nothing": None,
        "another one": plant.repository.read("1.root.json"),
        "the newest": plant.repository.read("3.root.json"),
    }[answer]
    with pytest.raises((Refused, NotKnown), match=r"2\.root|root 2"):
        lea.look(Liar(plant.desk, {"2.root": between}), "acme")
    known = recall(lea.path, "acme")
    assert known is not None
    assert known.signed.version == 1


def test_a_root_that_cannot_be_remembered_is_said_so_and_signing_goes_on(
    plant: Ceremony, capsys: pytest.CaptureFixture[str]
) -> None:
    lea = pen(plant, "lea")
    memory_of(lea.path).with_name(f".{memory_of(lea.path).name}.new").mkdir()  # not to be written
    lea.look(plant.desk, "acme")
    assert "cannot be written" in capsys.readouterr().err.replace("\n", " ")


@pytest.mark.parametrize("content", ["", "{", "[]", '{"acme": {"version": 1}}', '{"acme": 7}'])
def test_a_damaged_memory_is_no_fresh_start(plant: Ceremony, content: str) -> None:
    lea = pen(plant, "lea")
    memory_of(lea.path).write_text(content)
    with pytest.raises(SealaneError, match="is damaged") as caught:
        lea.look(plant.desk, "acme")
    assert "compare the root's fingerprint" in caught.value.hint


def test_a_memory_has_a_bound(plant: Ceremony) -> None:
    lea = pen(plant, "lea")
    lea.look(plant.desk, "acme")
    root = json.loads(memory_of(lea.path).read_bytes())["acme"]
    many: dict[str, Any] = {f"fleet-{number}": root for number in range(FLEETS + 5)}
    memory_of(lea.path).write_text(json.dumps(many))
    lea.look(plant.desk, "acme")
    kept = json.loads(memory_of(lea.path).read_bytes())
    assert len(kept) == FLEETS
    assert "acme" in kept


# Files that are carried


@pytest.fixture
def sign(plant: Ceremony, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Signing:
    (tmp_path / "passphrase").write_text(PASSPHRASE + "\n")
    monkeypatch.setenv("SEALANE_PASSPHRASE_FILE", str(tmp_path / "passphrase"))
    return Signing(plant, tmp_path / "changes.json")


@dataclass(frozen=True)
class Signing:
    """`sealane trust sign FILE`."""

    plant: Ceremony
    file: Path

    def carry(self, desk: TrustDesk, **instead: Any) -> None:
        found = look(desk, since=0)
        current = {role: changes.encode(document) for role, document in found.current.items()}
        roots = tuple(changes.encode(found.roots[version]) for version in sorted(found.roots))
        waiting = tuple(root_first(found.waiting.values()))
        carried = Carried("acme", waiting, current, roots)
        self.file.write_bytes(encode_file(replace(carried, **instead)))

    def __call__(self, name: str) -> Result:
        key = str(self.plant.holder(name).private)
        command = ["trust", "sign", str(self.file), "--key", key, "--yes"]
        return CliRunner().invoke(app, command)

    @property
    def signatures(self) -> int:
        carried = decode_file(self.file.read_bytes())
        return sum(len(change.document.signatures) for change in carried.changes)


def test_a_carried_file_of_another_fleet_of_that_name_is_not_signed(
    plant: Ceremony, double: Ceremony, sign: Signing
) -> None:
    plant.propose(lambda ground: renewed(ground, "digits"))
    sign.carry(plant.desk)
    assert sign("lea").exit_code == 0
    assert sign.signatures == 1
    double.propose(lambda ground: renewed(ground, "digits"))
    sign.carry(double.desk)
    done = sign("lea")
    assert done.exit_code == 3
    assert "another root 1" in done.stderr
    assert sign.signatures == 0


def test_a_carried_file_brings_the_roots_that_came_between(plant: Ceremony, sign: Signing) -> None:
    pen(plant, "lea").look(plant.desk, "acme")
    for _ in range(3):
        plant.propose(lambda ground: renewed(ground, "root"))
        plant.sign("ana", "ben")
    plant.propose(lambda ground: renewed(ground, "digits"))
    sign.carry(plant.desk, roots=())
    done = sign("lea")
    assert "root 2, which comes after the one that was seen, is not there" in done.stderr
    sign.carry(plant.desk)
    assert sign("lea").exit_code == 0
    assert sign.signatures == 1


def test_a_carried_file_that_calls_its_own_release_current_is_not_signed(
    plant: Ceremony, sign: Signing
) -> None:
    plant.propose(lambda ground: renewed(ground, "digits"))
    evil = plant.repository.documents()["digits"]
    evil.signed.unrecognized_fields["x-evil"] = True
    found = look(plant.desk)
    current = {role: changes.encode(document) for role, document in found.current.items()}
    sign.carry(plant.desk, current={**current, "digits": changes.encode(evil)})
    done = sign("lea")
    assert done.exit_code == 3
    assert "what is called current is not" in done.stderr
    assert sign.signatures == 0


def test_what_a_file_says_of_its_proposer_is_printed_and_does_nothing(
    plant: Ceremony, sign: Signing
) -> None:
    plant.propose(lambda ground: renewed(ground, "digits"))
    (change,) = plant.desk.changes()
    evil = replace(change, proposer="\x1b[2Jana", reason="fine\r\n  fingerprint 0000")
    sign.carry(plant.desk, changes=(evil,), fleet="ac\x1b[8mme")
    done = sign("lea")
    assert "\x1b" not in done.stdout + done.stderr
    assert sum(line.startswith("  fingerprint ") for line in done.stdout.splitlines()) == 1


def test_a_state_folder_without_a_fleet_is_said_so(tmp_path: Path) -> None:
    state = StateFolder(tmp_path / "nothing").root
    done = CliRunner().invoke(app, ["trust", "status", "--state", str(state)])
    assert done.exit_code != 0
    assert "there is no fleet" in done.stderr
