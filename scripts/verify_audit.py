#!/usr/bin/env python3
"""Checks a file that `sealane audit export` wrote; needs nothing but Python 3.9 or later.

    python3 verify_audit.py audit.jsonl --root root.json [--older last-year.jsonl]

The first line holds a checkpoint, signed by the fleet's director; each other line is one entry, as
it was hashed. What is checked:

1. The Merkle tree hash (RFC 6962, section 2.1) over all entries is the one in the checkpoint.
2. One of the director's keys signed the checkpoint (Ed25519, RFC 8032). They stand in root.json,
   which the root keys signed; without --root those in the file are believed, and it says so.
3. An older export, if there is one, is the beginning of this one.

Nothing here is taken from Sealane's own code, so that an auditor can read all of it.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import sys
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

# Curve and base point of Ed25519, RFC 8032, section 5.1.
P = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
ROOT_OF_MINUS_ONE = pow(2, (P - 1) // 4, P)
KEY_BYTES, SIGNATURE_BYTES = 32, 64


class Wrong(Exception):  # noqa: N818 - a finding about a file, not a fault of the script
    """The file does not hold."""


def merkle_root(entries: Iterator[bytes]) -> tuple[int, bytes]:
    """How many entries, and their Merkle tree hash."""
    stack: list[tuple[int, bytes]] = []  # complete subtrees from the left: size, hash
    count = 0
    for entry in entries:
        count += 1
        size, value = 1, hashlib.sha256(b"\x00" + entry).digest()
        while stack and stack[-1][0] == size:
            value = hashlib.sha256(b"\x01" + stack.pop()[1] + value).digest()
            size *= 2
        stack.append((size, value))
    if not stack:
        return 0, hashlib.sha256().digest()
    root = stack.pop()[1]
    while stack:
        root = hashlib.sha256(b"\x01" + stack.pop()[1] + root).digest()
    return count, root


def decode_point(encoded: bytes) -> tuple[int, int] | None:
    """A point of the curve, or None."""
    number = int.from_bytes(encoded, "little")
    sign, y = number >> 255, number & (2**255 - 1)
    square = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * ROOT_OF_MINUS_ONE % P
    if y >= P or (x * x - square) % P or (x == 0 and sign):
        return None
    return (x if x & 1 == sign else P - x), y


def add(one: tuple[int, int], other: tuple[int, int]) -> tuple[int, int]:
    """The sum of two points."""
    (x1, y1), (x2, y2) = one, other
    product = D * x1 * x2 * y1 * y2 % P
    x = (x1 * y2 + x2 * y1) * pow(1 + product, P - 2, P)
    y = (y1 * y2 + x1 * x2) * pow(1 - product, P - 2, P)
    return x % P, y % P


def times(number: int, point: tuple[int, int]) -> tuple[int, int]:
    """A point added to itself so many times."""
    total = (0, 1)
    while number:
        if number & 1:
            total = add(total, point)
        point, number = add(point, point), number >> 1
    return total


def ed25519_signed(key: bytes, signature: bytes, message: bytes) -> bool:
    """Whether this key made this signature of this message; RFC 8032, section 5.1.7."""
    if len(key) != KEY_BYTES or len(signature) != SIGNATURE_BYTES:
        return False
    public, commitment = decode_point(key), decode_point(signature[:KEY_BYTES])
    base = decode_point((4 * pow(5, P - 2, P) % P).to_bytes(KEY_BYTES, "little"))
    scalar = int.from_bytes(signature[KEY_BYTES:], "little")
    if public is None or commitment is None or base is None or scalar >= ORDER:
        return False
    digest = hashlib.sha512(signature[:KEY_BYTES] + key + message).digest()
    challenge = int.from_bytes(digest, "little") % ORDER
    return times(scalar, base) == add(commitment, times(challenge, public))


def read(path: Path) -> tuple[dict[str, Any], Iterator[bytes]]:
    """The first line, and the entries."""
    file = path.open("rb")
    head = json.loads(file.readline())
    if head["format"] != "sealane-audit-1":
        raise Wrong(f"{path} has the format {head['format']}, which this script does not know")
    return head, (line.rstrip(b"\n") for line in file)


def director_keys(root: dict[str, Any]) -> list[dict[str, Any]]:
    """The director's keys in a root.json."""
    signed = root["signed"]
    return [signed["keys"][keyid] for keyid in signed["x-director"]["keyids"]]


def check_signature(note: str, keys: list[dict[str, Any]]) -> None:
    """Raise Wrong unless one of the keys signed the note."""
    text, _, rest = note.partition("\n\n")
    origin, message = text.split("\n")[0], f"{text}\n".encode()
    for line in rest.split("\n"):
        dash, _, named = line.partition(" ")
        name, _, value = named.partition(" ")
        if dash != "—" or name != origin:
            continue
        signature = base64.b64decode(value)
        for key in keys:
            public = bytes.fromhex(key["keyval"]["public"]) if key["keytype"] == "ed25519" else b""
            mine = hashlib.sha256(name.encode() + b"\n\x01" + public).digest()[:4]
            if signature[:4] == mine and ed25519_signed(public, signature[4:], message):
                return
    raise Wrong("none of the director's keys signed the checkpoint")


def check_begins_with(path: Path, older: Path) -> int:
    """Raise Wrong unless the older export is the beginning of this one; how many entries it has."""
    (_, now), (_, before) = read(path), read(older)
    for number, (entry, was) in enumerate(zip_longest(now, before), 1):
        if was is None:
            return number - 1
        if entry != was:
            raise Wrong(f"entry {number} is not what it was in {older}")
    return sum(1 for _ in read(older)[1])


def check(path: Path, root: Path | None, older: Path | None) -> None:
    """Print what holds; raises Wrong."""
    head, entries = read(path)
    note = str(head["checkpoint"])
    origin, size, wanted = note.split("\n")[:3]
    count, found = merkle_root(entries)
    if count != int(size) or found != base64.b64decode(wanted):
        raise Wrong(f"the {count} entries are not the {size} that were signed")
    print(f"{origin}: {count} entries, root {found.hex()}")
    check_signature(note, director_keys(json.loads(root.read_bytes())) if root else head["keys"])
    print(f"signed by the director whose keys stand in {root or 'this very file: give --root'}")
    if older:
        print(f"continues the {check_begins_with(path, older)} entries of {older}")


def main() -> int:
    """Check what the command line names; 0 if it holds, 1 if not."""
    parser = argparse.ArgumentParser(description="Checks a file of `sealane audit export`.")
    parser.add_argument("file", type=Path)
    parser.add_argument("--root", type=Path, help="the fleet's root.json")
    parser.add_argument("--older", type=Path, help="an earlier export")
    asked = parser.parse_args()
    try:
        check(asked.file, asked.root, asked.older)
    except (Wrong, ValueError, KeyError, TypeError) as error:
        print(f"WRONG: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"cannot be read: {error.filename}: {error.strerror}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
