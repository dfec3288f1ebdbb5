#!/usr/bin/env python3
"""Checks a folder that `sealane rollout evidence export` wrote; needs Python and `cryptography`.

    python3 verify_evidence.py FOLDER --root root.json

1. evidence.json names every file with its SHA-256, and nothing else lies there.
2. The checkpoint of the audit log is a signed note (C2SP signed-note): every line of it is signed
   by a key of the fleet's director (Ed25519). These keys stand in root.json, which the root keys
   signed; without --root those in the folder are believed, and it says so.
3. Each entry is in the log that was signed (RFC 6962, section 2.1.3), at its place.
4. What a gate saw, each time it moved the rollout, is what the entry `judge` names by its hash.
5. Each receipt is what the entry `receipt` names by its hash, speaks of this rollout and of the
   device that the entry names, and was signed by a key (ECDSA, P-256) that an entry says is the
   device's. Receipts from before keys were kept are told apart: their hash alone stands for them.

It cannot say that no entry about the rollout was left out: scripts/verify_audit.py reads them all.
Nothing here is taken from Sealane's own code, so that an auditor can read all of it.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import sys
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_der_public_key

HEAD = "evidence.json"
FIELDS = {"checkpoint", "files", "fleet", "format", "rollout"}
ENTRY_FIELDS = {"action", "actor", "at", "detail", "evidence", "rollout"}
NOTE_LINES = 4


class Wrong(Exception):  # noqa: N818 - a finding about a file, not a fault of the script
    """The files do not hold."""


def canonical(value: object) -> bytes:
    """JSON as Sealane writes it: ASCII, keys in order, no spaces."""
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode("ascii")


def decoded(content: bytes, fields: set[str], what: str) -> dict[str, Any]:
    """JSON with exactly these fields, written in the one way; raises Wrong."""
    value = json.loads(content)
    if not isinstance(value, dict) or set(value) != fields or canonical(value) != content:
        raise Wrong(f"{what} is not written as it should be")
    return value


def read(folder: Path) -> tuple[dict[str, Any], dict[str, bytes]]:
    """The head, and the content of every file that it names; raises Wrong."""
    content = (folder / HEAD).read_bytes()
    if not content.endswith(b"\n"):
        raise Wrong(f"{HEAD} is cut off")
    head = decoded(content[:-1], FIELDS, HEAD)
    if head["format"] != "sealane-evidence-1":
        raise Wrong(f"{HEAD} has the format {head['format']}, which this script does not know")
    there = {str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir()}
    if there != {HEAD, *head["files"]}:
        raise Wrong(f"other files than {HEAD} names: {sorted(there ^ {HEAD, *head['files']})[:5]}")
    files = {name: (folder / name).read_bytes() for name in sorted(head["files"])}
    for name, content in files.items():
        if hashlib.sha256(content).hexdigest() != head["files"][name]:
            raise Wrong(f"{name} is not what {HEAD} says that it is")
    return head, files


def director_keys(root: bytes) -> dict[str, bytes]:
    """The director's Ed25519 keys in a root.json, by their ids."""
    signed = json.loads(root)["signed"]
    keys = {keyid: signed["keys"][keyid] for keyid in signed["x-director"]["keyids"]}
    return {
        keyid: bytes.fromhex(key["keyval"]["public"])
        for keyid, key in keys.items()
        if key["keytype"] == "ed25519"
    }


def exact(text: str) -> bytes:
    """Base64 that could not be written otherwise; raises Wrong."""
    value = base64.b64decode(text, validate=True)
    if base64.b64encode(value).decode() != text:
        raise Wrong("base64 is not written as it should be")
    return value


def checkpoint(note: str, fleet: str, keys: dict[str, bytes]) -> tuple[int, bytes]:
    """Size and root of the log, from a note whose every signature holds; raises Wrong."""
    text, found, rest = note.partition("\n\n")
    lines = text.split("\n")
    if not found or len(lines) != NOTE_LINES or not rest.endswith("\n"):
        raise Wrong("the checkpoint is not a signed note")
    origin, size, root, epoch = lines
    if origin != f"sealane.audit/{fleet}" or not epoch.startswith("epoch "):
        raise Wrong(f"the checkpoint is not one of fleet {fleet}")
    for line in rest[:-1].split("\n"):
        dash, name, value = line.split(" ")
        if dash != "—" or name != origin or not signed(f"{text}\n", origin, exact(value), keys):
            raise Wrong("a signature of the checkpoint is of no key of the director")
    return int(size), exact(root)


def signed(text: str, origin: str, value: bytes, keys: dict[str, bytes]) -> bool:
    """Whether one of the keys made this signature."""
    for public in keys.values():
        mark = hashlib.sha256(origin.encode() + b"\n\x01" + public).digest()[:4]
        if value[:4] == mark:
            try:
                Ed25519PublicKey.from_public_bytes(public).verify(value[4:], text.encode())
            except InvalidSignature:
                return False
            return True
    return False


def root_of(leaf: bytes, index: int, size: int, proof: list[bytes]) -> bytes:
    """The root that an inclusion proof leads to (RFC 9162, section 2.1.3.2); raises Wrong."""
    place, last, value = index, size - 1, hashlib.sha256(b"\x00" + leaf).digest()
    if not 0 <= index < size:
        raise Wrong(f"entry {index} is beyond the log")
    for sibling in proof:
        if last == 0:
            raise Wrong(f"the proof of entry {index} is too long")
        if place & 1 or place == last:
            value = hashlib.sha256(b"\x01" + sibling + value).digest()
            while not place & 1 and place:
                place, last = place >> 1, last >> 1
        else:
            value = hashlib.sha256(b"\x01" + value + sibling).digest()
        place, last = place >> 1, last >> 1
    if last:
        raise Wrong(f"the proof of entry {index} is too short")
    return value


def entries_of(content: bytes, size: int, root: bytes) -> list[dict[str, str]]:
    """The entries, each proved to be in the log; raises Wrong."""
    if not content.endswith(b"\n"):
        raise Wrong("the entries are cut off")
    entries, before = [], -1
    for line in content[:-1].split(b"\n"):
        found = decoded(line, {"entry", "index", "proof"}, "an entry")
        leaf, index = found["entry"].encode("ascii"), found["index"]
        proof = [bytes.fromhex(value) for value in found["proof"]]
        if index <= before or root_of(leaf, index, size, proof) != root:
            raise Wrong(f"entry {index} is not in the log that was signed")
        entries.append(decoded(leaf, ENTRY_FIELDS, f"entry {index}"))
        before = index
    return entries


def check_judgements(entries: list[dict[str, str]], files: dict[str, bytes]) -> int:
    """Raise Wrong unless exactly what gates saw is there; how often one judged."""
    judged = [entry for entry in entries if entry["action"] == "judge"]
    wanted = {f"judgements/{entry['evidence']}.json" for entry in judged}
    there = {name for name in files if name.startswith("judgements/")}
    if wanted != there:
        raise Wrong(f"judgements are missing or too many: {sorted(wanted ^ there)[:3]}")
    for name in there:
        if name != f"judgements/{hashlib.sha256(files[name]).hexdigest()}.json":
            raise Wrong(f"{name} is not what its entry names")
    return len(judged)


def check_receipts(
    entries: list[dict[str, str]], files: dict[str, bytes], rollout: str
) -> tuple[int, int]:
    """Raise Wrong unless the receipts hold; how many are signed by known keys, and how many not."""
    given = [entry for entry in entries if entry["action"] == "receipt"]
    there = {name for name in files if name.startswith("receipts/")}
    wanted = {f"receipts/{entry['evidence']}" for entry in given}
    if {name.rpartition(".")[0] for name in there} != wanted:
        raise Wrong("receipts are missing or too many")
    known = {entry["detail"] for entry in entries if entry["action"] in {"enrol", "apply", "renew"}}
    found = [check_receipt(entry, files, rollout, known) for entry in given]
    return sum(found), len(found) - sum(found)


def check_receipt(
    entry: dict[str, str], files: dict[str, bytes], rollout: str, known: set[str]
) -> bool:
    """Raise Wrong unless a receipt holds; whether a key that the log knows signed it."""
    name = f"receipts/{entry['evidence']}"
    payload = files[f"{name}.json"]
    said = json.loads(payload)
    if hashlib.sha256(payload).hexdigest() != entry["evidence"]:
        raise Wrong(f"{name} is not what its entry names")
    if said["rollout"] != rollout or entry["actor"] != f"device {said['device']}":
        raise Wrong(f"{name} speaks of something else")
    if f"{name}.key" not in files:
        return False
    spki = files[f"{name}.key"]
    try:
        key = load_der_public_key(spki)
    except (ValueError, UnsupportedAlgorithm):
        raise Wrong(f"the key of {name} is not readable") from None
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise Wrong(f"the key of {name} is of another kind")
    try:
        key.verify(files[f"{name}.sig"], payload, ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        raise Wrong(f"{name} is not signed by its key") from None
    return f"device {said['device']}, key {hashlib.sha256(spki).hexdigest()}" in known


def check(folder: Path, root: Path | None) -> None:
    """Print what holds; raises Wrong."""
    head, files = read(folder)
    keys = director_keys(root.read_bytes() if root else files["root.json"])
    size, tree = checkpoint(head["checkpoint"], head["fleet"], keys)
    entries = entries_of(files["entries.jsonl"], size, tree)
    mine = [entry for entry in entries if entry["rollout"]]
    if not mine or any(entry["rollout"] != head["rollout"] for entry in mine):
        raise Wrong(f"the entries are not about rollout {head['rollout']}")
    judged = check_judgements(entries, files)
    signed_by, by_hash = check_receipts(entries, files, head["rollout"])
    print(f"rollout {head['rollout']} of fleet {head['fleet']}")
    print(f"{len(entries)} entries are in the audit log of {size} entries")
    where = root or "root.json in this very folder: give --root"
    print(f"signed by the director whose keys stand in {where}")
    print(f"{judged} judgements of the gate with all that it saw")
    print(f"{signed_by} receipts signed by keys that the log says are the devices'")
    if by_hash:
        print(f"{by_hash} receipts by their hash in the log alone")


def main() -> int:
    """Check what the command line names; 0 if it holds, 1 if not."""
    parser = argparse.ArgumentParser(description="Checks the evidence of a rollout.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--root", type=Path, help="the fleet's root.json")
    asked = parser.parse_args()
    try:
        check(asked.folder, asked.root)
    except (Wrong, ValueError, KeyError, TypeError, AttributeError) as error:
        print(f"WRONG: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"cannot be read: {error.filename}: {error.strerror}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
