"""The audit log through its commands, an auditor's script, a device, and a thief with every key."""

from __future__ import annotations

import hashlib
import json
import sqlite3
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from sealane.audit import merkle
from sealane.errors import TrustError
from sealane.fleet import Assignment, AssignmentRequest
from sealane.names import DeviceId, ReleaseName
from sealane.trust.source import MetadataMissing
from sealane.trust.verifier import Step, Verifier
from sealane_manager.cli.main import app
from sealane_manager.trust.changes import Offer
from sealane_manager.trust.keys import key_path, load_signer
from sealane_manager.trust.releases import without_release
from support.device import FACTS
from support.manager import running_manager
from support.trust import ManualClock
from typer.testing import CliRunner

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sealane_manager.layout import StateFolder
    from support.device import Device
    from support.manager import RunningManager
    from typer.testing import Result

SCRIPT = Path(__file__).parents[2] / "scripts" / "verify_audit.py"


def sealane(state: StateFolder, *arguments: str) -> Result:
    return CliRunner().invoke(app, arguments, env={"SEALANE_CONTEXT": str(state.operator)})


def offline(*arguments: Path | str) -> tuple[int, str]:
    """The auditor's script, with nothing but Python."""
    command = [sys.executable, "-I", "-S", SCRIPT, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stdout + done.stderr


class Files:
    """The repository as the device gets it."""

    def __init__(self, device: Device) -> None:
        self.device = device

    def fetch(self, name: str, limit: int) -> Iterator[bytes]:
        assert limit > 0
        try:
            yield self.device.metadata(name)
        except Exception as error:
            raise MetadataMissing(name) from error


def poll(verifier: Verifier, device: Device) -> None:
    """The device asks for its document, and judges it."""
    with device.session() as session:
        session.greet()
        nonce = verifier.new_nonce()
        answer = session.ask(AssignmentRequest(nonce, verifier.seen()))
    assert isinstance(answer, Assignment)
    verifier.accept(answer.document, nonce, FACTS, answer.proof)


def a_verifier(manager: RunningManager, device: Device, folder: Path) -> Verifier:
    Verifier.bootstrap(folder, device.root, manager.token().root_sha256)
    return Verifier(folder, Files(device), DeviceId(device.id), ManualClock())


def rewrite(database: Path) -> None:
    """What somebody with the whole database does: change an entry, and grow the tree anew."""
    with sqlite3.connect(database) as control:
        control.execute("UPDATE decision SET actor = 'nobody', detail = 'nothing' WHERE leaf = 1")
        rows = control.execute(
            "SELECT action, actor, at, detail, evidence, rollout FROM decision ORDER BY leaf"
        ).fetchall()
        leaves = [merkle.leaf_hash(_encoded(*row)) for row in rows]
        gained, peaks = merkle.grown(0, (), leaves)
        control.executemany(
            "UPDATE audit_node SET hash = ? WHERE level = ? AND position = ?",
            [(value, node.level, node.index) for node, value in gained.items()],
        )
        control.execute("UPDATE audit_head SET peaks = ?", (b"".join(peaks),))
    control.close()


def _encoded(*fields: str) -> bytes:
    values = dict(
        zip(("action", "actor", "at", "detail", "evidence", "rollout"), fields, strict=True)
    )
    values["at"] = values["at"].replace(" ", "T") + "Z"
    return json.dumps(values, sort_keys=True, separators=(",", ":")).encode()


def parsed(result: Result) -> Any:
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


@pytest.mark.slow
def test_the_log_is_listed_verified_exported_and_checked_without_sealane(tmp_path: Path) -> None:
    with running_manager(tmp_path) as manager:
        state = manager.state
        manager.enrolled("press-1", {"site": "berlin"})
        assert sealane(state, "device", "label", "press-1", "site=porto").exit_code == 0
        first = parsed(sealane(state, "audit", "verify", "-o", "json"))
        assert sealane(state, "audit", "export", str(tmp_path / "old.jsonl")).exit_code == 0
        assert sealane(state, "device", "revoke", "press-1", "--reason", "sold").exit_code == 0
        second = parsed(sealane(state, "audit", "verify", "-o", "json"))
        rows = parsed(sealane(state, "audit", "list", "-o", "json"))
        (only,) = parsed(sealane(state, "audit", "list", "--action", "revoke", "-o", "json"))
        older = parsed(sealane(state, "audit", "list", "--before", "2", "-o", "json"))
        assert sealane(state, "audit", "export", str(tmp_path / "new.jsonl")).exit_code == 0

    assert [row["action"] for row in rows] == [
        *("revoke", "label", "enrol", "token"),
        *("list certificate", "add user"),
    ]
    assert [row["number"] for row in rows] == [6, 5, 4, 3, 2, 1]
    assert [row["number"] for row in older] == [1]
    assert "press-1: sold" in only["detail"]
    assert (first["entries"], second["entries"], second["continues"]) == (5, 6, 5)
    root = state.tuf / "1.root.json"
    code, said = offline(tmp_path / "new.jsonl", "--root", root, "--older", tmp_path / "old.jsonl")
    assert code == 0, said
    assert "6 entries" in said
    assert "continues the 5 entries" in said
    assert "give --root" in offline(tmp_path / "new.jsonl")[1]


@pytest.mark.slow
def test_an_export_that_was_changed_anywhere_is_wrong(tmp_path: Path) -> None:
    path, root = tmp_path / "audit.jsonl", tmp_path / "state" / "tuf" / "1.root.json"
    with running_manager(tmp_path) as manager:
        for number in range(5):
            manager.enrolled(f"press-{number}")
        assert sealane(manager.state, "audit", "export", str(path)).exit_code == 0
    whole = path.read_bytes()
    lines = whole.splitlines(keepends=True)
    swapped = [lines[0], lines[2], lines[1], *lines[3:]]
    for changed in (
        whole.replace(b"press-3", b"press-9"),
        b"".join(lines[:-1]),
        b"".join([*lines, lines[-1]]),
        b"".join(swapped),
    ):
        path.write_bytes(changed)
        code, said = offline(path, "--root", root)
        assert (code, "are not the" in said) == (1, True), said
    path.write_bytes(whole.replace(b"acme", b"other").replace(b"audit/demo", b"audit/else"))
    assert "none of the director's keys" in offline(path, "--root", root)[1]
    path.write_bytes(b"nonsense")
    assert offline(path, "--root", root)[0] == 1


@pytest.mark.slow
def test_a_thief_with_the_database_and_every_key_cannot_rewrite_history(tmp_path: Path) -> None:
    with running_manager(tmp_path) as manager:
        state = manager.state
        device = manager.enrolled("press-1")
        verifier = a_verifier(manager, device, tmp_path / "trust")
        poll(verifier, device)
        assert sealane(state, "audit", "verify").exit_code == 0
        assert sealane(state, "audit", "export", str(tmp_path / "old.jsonl")).exit_code == 0

    rewrite(state.database)  # the manager signs what it finds there, with its own key
    with running_manager(tmp_path) as manager:
        device = manager.enrolled("press-2")
        moved = _moved(device, manager, tmp_path)
        (alarm,) = parsed(sealane(state, "audit", "list", "--action", "alarm", "-o", "json"))
        refused = sealane(state, "audit", "verify")
        (state.operator / "audit-seen.json").unlink()
        assert sealane(state, "audit", "export", str(tmp_path / "new.jsonl")).exit_code == 0

    assert alarm["actor"] == "device press-2"
    assert "another audit log" in alarm["detail"]
    assert (moved.step, "does not continue" in str(moved)) == (Step.HISTORY, True)
    assert (refused.exit_code, "does not continue" in refused.output) == (3, True)
    code, said = offline(tmp_path / "new.jsonl", "--older", tmp_path / "old.jsonl")
    assert (code, "entry 2 is not what it was" in said) == (1, True), said


def _moved(other: Device, manager: RunningManager, folder: Path) -> TrustError:
    """What the first device's verifier says to the rewritten log, over the other's connection."""
    verifier = Verifier(folder / "trust", Files(other), DeviceId("press-2"), ManualClock())
    assert manager.addresses.fleet == other.fleet_address
    with pytest.raises(TrustError) as caught:
        poll(verifier, other)
    return caught.value


@pytest.mark.slow
def test_an_entry_changed_in_the_database_alone_is_found(tmp_path: Path) -> None:
    with running_manager(tmp_path) as manager:
        state = manager.state
        manager.enrolled("press-1")
    with sqlite3.connect(state.database) as control:
        control.execute("UPDATE decision SET actor = 'nobody' WHERE leaf = 0")
    control.close()
    with running_manager(tmp_path):
        found = sealane(state, "audit", "verify")
    assert (found.exit_code, "not the ones that the director signed" in found.output) == (3, True)


@pytest.mark.slow
def test_a_manager_put_back_from_a_backup_is_refused_until_the_loss_is_declared(
    tmp_path: Path,
) -> None:
    with running_manager(tmp_path) as manager:
        state = manager.state
        device = manager.enrolled("press-1")
    with sqlite3.connect(state.database) as control:
        control.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    control.close()
    backup = state.database.read_bytes()
    with running_manager(tmp_path) as manager:
        verifier = a_verifier(manager, _at(device, manager), tmp_path / "trust")
        manager.enrolled("press-2")
        poll(verifier, _at(device, manager))
    state.database.write_bytes(backup)
    with running_manager(tmp_path) as manager:
        again = Verifier(
            tmp_path / "trust", Files(_at(device, manager)), DeviceId("press-1"), ManualClock()
        )
        for _ in range(3):
            with pytest.raises(TrustError, match="newest were cut off"):
                poll(again, _at(device, manager))
        (alarm,) = parsed(sealane(state, "audit", "list", "--action", "alarm", "-o", "json"))
        assert (alarm["actor"], "here are" in alarm["detail"]) == ("device press-1", True)
        said = sealane(state, "audit", "declare-loss", "--reason", "disk died, backup of monday")
        assert said.exit_code == 0, said.output
        poll(again, _at(device, manager))
        (row,) = parsed(sealane(state, "audit", "list", "--size", "1", "-o", "json"))
    assert (row["action"], "backup of monday" in row["detail"]) == ("declare loss", True)


def _at(device: Device, manager: RunningManager) -> Device:
    return replace(device, fleet_address=manager.addresses.fleet)


@pytest.mark.slow
def test_what_is_published_and_taken_back_is_in_the_log_with_who_signed_it(
    tmp_path: Path,
) -> None:
    with running_manager(tmp_path) as manager:
        manifest = manager.publish(tmp_path, 1)
        signer = load_signer(key_path(manager.state.keys, "demo"))
        with manager.operator() as operator:
            current = operator.get_metadata("demo")
            without = without_release(current, ReleaseName("demo/tiny", 1), signer)
            operator.submit(Offer("demo", without, "it fails at night"))
        rows = parsed(sealane(manager.state, "audit", "list", "-o", "json"))
    told = {row["action"]: row for row in rows}
    assert told["publish"]["detail"] == f"demo/tiny@1, manifest {manifest.digest[7:]}"
    assert told["unlist"]["detail"] == "demo/tiny@1"
    assert told["publish"]["actor"] == f"key {signer.public_key.keyid[:12]}"
    newest = (manager.state.tuf / "3.demo.json").read_bytes()
    assert told["unlist"]["evidence"] == hashlib.sha256(newest).hexdigest()
