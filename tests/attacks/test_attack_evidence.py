"""The evidence of a rollout, verified by the script alone: whoever changes anything is found."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
import verify_evidence
from hypothesis import given
from hypothesis import strategies as st
from sealane.clock import SystemClock
from sealane.names import DeviceId
from sealane_manager.audit import AuditLog
from sealane_manager.cli.evidence import HEAD, canonical, contents
from sealane_manager.director import Director
from sealane_manager.evidence import EvidenceDesk
from sealane_manager.rollout.advance import advance
from sealane_manager.rpc.rollouts import evidence_from_wire, evidence_to_wire
from sealane_manager.trust import keys
from support.manager import FLEET, make_state
from support.repository import ROOT
from support.rollouts import START, a_report, all_reachable
from support.stores import ADA, a_store, an_event, enrol, signed, start

if TYPE_CHECKING:
    from pathlib import Path

    from sealane_manager.store.store import Store

Files = dict[str, bytes]

BOXES = ("box-1", "box-2", "box-3")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    """The evidence of a rollout over three devices that succeeded, among other things."""
    state = make_state(tmp_path_factory.mktemp("fleet"))
    director = Director(lambda: keys.load_signer(keys.key_path(state.keys, keys.DIRECTOR)))
    with a_store() as store:
        rolled_out(store)
        desk = EvidenceDesk(store, AuditLog(FLEET, store, director, SystemClock()))
        found = evidence_from_wire(list(evidence_to_wire(desk.of("r-1"))))
        root = next(state.tuf.rglob("1.root.json")).read_bytes()
        return dict(contents(found, root))


def rolled_out(store: Store) -> None:
    enrol(store, *BOXES)
    start(store, "r-1", soak=timedelta(0))
    for turn in range(3):
        store.rollouts.change("r-1", lambda found: advance(all_reachable(found), START), ADA)
        if turn == 0:
            for box in BOXES:
                receipt, report = signed(box, rollout="r-1"), a_report("committed", rollout="r-1")
                # A device counts its receipts and its events apart.
                events = [an_event(6, receipt), an_event(7, report)]
                store.events.record(DeviceId(box), events, START)
    store.devices.label(DeviceId("box-1"), {"line": "3"}, [], ADA)


def laid_out(files: Files, folder: Path) -> Path:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


def verdict(files: Files, folder: Path) -> str:
    """Empty when everything holds, else why not."""
    try:
        verify_evidence.check(laid_out(files, folder), None)
    except (verify_evidence.Wrong, OSError, ValueError, KeyError, TypeError, AttributeError) as e:
        return str(e) or repr(e)
    return ""


def named_again(files: Files) -> Files:
    """With every hash in the head made right again: what a forger does."""
    head = json.loads(files[HEAD])
    rest = {name: content for name, content in files.items() if name != HEAD}
    head["files"] = {n: hashlib.sha256(content).hexdigest() for n, content in rest.items()}
    return rest | {HEAD: canonical(head) + b"\n"}


def one(files: Files, start: str, end: str = "") -> str:
    return next(name for name in sorted(files) if name.startswith(start) and name.endswith(end))


def test_what_was_exported_holds_and_the_script_says_what(files: Files, tmp_path: Path) -> None:
    folder = laid_out(files, tmp_path / "evidence")
    (tmp_path / "root.json").write_bytes(files["root.json"])
    script = ROOT / "scripts" / "verify_evidence.py"
    done = subprocess.run(
        [sys.executable, "-I", str(script), str(folder), "--root", str(tmp_path / "root.json")],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert f"rollout r-1 of fleet {FLEET}" in done.stdout
    assert "3 receipts signed by keys that the log says are the devices'" in done.stdout
    assert "by their hash" not in done.stdout
    assert "judgements of the gate" in done.stdout
    assert any(name.startswith("judgements/") for name in files)


def test_the_script_needs_nothing_of_sealane() -> None:
    text = (ROOT / "scripts" / "verify_evidence.py").read_text()
    assert "import sealane" not in text
    assert "from sealane" not in text


@given(data=st.data())
def test_whichever_byte_of_whichever_file_is_changed_it_is_found(
    files: Files, data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    name = data.draw(st.sampled_from(sorted(files)))
    place = data.draw(st.integers(0, len(files[name]) - 1))
    other = data.draw(st.integers(1, 255))
    content = bytearray(files[name])
    content[place] ^= other
    assert verdict(files | {name: bytes(content)}, tmp_path_factory.mktemp("changed"))


@given(data=st.data())
def test_whichever_byte_is_changed_it_is_found_also_when_the_hashes_are_made_right(
    files: Files, data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Of root.json nothing is believed but the director's keys: an auditor brings his own."""
    name = data.draw(st.sampled_from(sorted(set(files) - {"root.json", HEAD})))
    place = data.draw(st.integers(0, len(files[name]) - 1))
    other = data.draw(st.integers(1, 255))
    content = bytearray(files[name])
    content[place] ^= other
    forged = named_again(files | {name: bytes(content)})
    assert verdict(forged, tmp_path_factory.mktemp("forged"))


def test_nothing_can_be_taken_away_or_added(files: Files, tmp_path: Path) -> None:
    for number, name in enumerate(sorted(set(files) - {HEAD})):
        rest = {other: content for other, content in files.items() if other != name}
        assert verdict(rest, tmp_path / f"gone-{number}")
        if not name.endswith((".sig", ".key")):
            assert verdict(named_again(rest), tmp_path / f"forged-{number}")
    assert "too many" in verdict(
        named_again(files | {"receipts/beef.json": b"{}"}), tmp_path / "added"
    )
    assert "other files" in verdict(files | {"readme": b"hello"}, tmp_path / "beside")


def test_a_receipt_of_another_key_does_not_count_as_the_devices_own(
    files: Files, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = one(files, "receipts/", ".json").removesuffix(".json")
    forged = {n: c for n, c in files.items() if n not in {f"{name}.key", f"{name}.sig"}}
    assert verdict(named_again(forged), tmp_path / "without") == ""
    assert "1 receipts by their hash in the log alone" in capsys.readouterr().out
    other = one(files, "receipts/", ".key")
    other = next(n for n in files if n.endswith(".key") and n != f"{name}.key")
    swapped = files | {f"{name}.key": files[other]}
    assert "not signed by its key" in verdict(named_again(swapped), tmp_path / "swapped")


def test_entries_cannot_change_their_place_or_come_twice(files: Files, tmp_path: Path) -> None:
    first, second, *rest = files["entries.jsonl"].splitlines(keepends=True)
    for number, lines in enumerate(([second, first, *rest], [first, first, second, *rest])):
        forged = named_again(files | {"entries.jsonl": b"".join(lines)})
        assert "not in the log" in verdict(forged, tmp_path / str(number))


def test_a_checkpoint_of_another_director_is_not_believed(files: Files, tmp_path: Path) -> None:
    other = make_state(tmp_path / "other")
    (tmp_path / "theirs.json").write_bytes(next(other.tuf.rglob("1.root.json")).read_bytes())
    folder = laid_out(files, tmp_path / "evidence")
    with pytest.raises(verify_evidence.Wrong, match="no key of the director"):
        verify_evidence.check(folder, tmp_path / "theirs.json")
