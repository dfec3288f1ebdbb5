"""A kit is read as it was written, and nothing else is taken for one."""

from __future__ import annotations

import hashlib
import json
import os
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sealane.errors import KitError
from sealane.kit.file import Kit, contents
from sealane.kit.index import INDEX_BYTES, MAGIC, MAX_DOCUMENTS, Index, parse_index
from sealane.names import DeviceId, Digest
from sealane.trust.source import MetadataMissing

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

UNTIL = datetime(2026, 12, 4, tzinfo=UTC)
BOX, OTHER = DeviceId("box-1"), DeviceId("box-2")
BLOBS = [b"weights" * 40_000, b"labels"]


def digest_of(content: bytes) -> Digest:
    return Digest(f"sha256:{hashlib.sha256(content).hexdigest()}")


PARTS: dict[str, dict[str, bytes]] = {
    "documents": {BOX: b"for box-1", OTHER: b"for box-2"},
    "metadata": {"1.root.json": b"root", "targets/vision/ab.defect@7.json": b"manifest"},
    "blobs": {digest_of(blob): blob for blob in sorted(BLOBS, key=digest_of)},
}


def index_of(parts: Mapping[str, Mapping[str, bytes]]) -> Index:
    sizes: dict[str, Any] = {
        kind: {name: len(content) for name, content in sorted(of.items())}
        for kind, of in parts.items()
    }
    return Index("kit-1", "plant", UNTIL, **sizes)


def written(parts: Mapping[str, Mapping[str, bytes]] = PARTS) -> bytes:
    bodies = [of[name] for of in parts.values() for name in sorted(of)]
    return index_of(parts).encode() + b"".join(bodies)


def read(path: Path, content: bytes) -> Kit:
    path.write_bytes(content)
    with ExitStack() as undo:
        kit = Kit.read(undo.enter_context(path.open("rb")))
        undo.pop_all()
    return kit


def test_a_kit_gives_back_what_was_put_in(tmp_path: Path) -> None:
    kit = read(tmp_path / "kit", written())
    assert kit.index == index_of(PARTS)
    assert kit.document(OTHER) == b"for box-2"
    assert b"".join(kit.fetch("1.root.json", 10)) == b"root"
    large = digest_of(BLOBS[0])
    assert b"".join(kit.blob(large)) == BLOBS[0]
    assert b"".join(kit.blob(large, 1000)) == BLOBS[0][1000:]
    assert b"".join(kit.blob(large, 10**9)) == b""
    kit.close()


def test_the_same_parts_make_the_same_bytes_in_any_order(tmp_path: Path) -> None:
    backwards = {kind: dict(reversed(of.items())) for kind, of in PARTS.items()}
    assert written(backwards) == written()
    kit = read(tmp_path / "kit", written())
    assert b"".join(contents(kit, kit.index)) == written()
    kit.close()


def test_a_part_of_a_kit_is_a_kit(tmp_path: Path) -> None:
    whole = read(tmp_path / "kit", written())
    mine = replace(whole.index, documents={BOX: whole.index.documents[BOX]}, blobs={})
    part = read(tmp_path / "part", b"".join(contents(whole, mine)))
    assert part.document(BOX) == b"for box-1"
    with pytest.raises(KitError, match="holds nothing for box-2"):
        part.document(OTHER)
    whole.close()
    part.close()


def test_files_that_are_not_there_are_missing_and_larger_ones_than_the_limit_too(
    tmp_path: Path,
) -> None:
    kit = read(tmp_path / "kit", written())
    for name, limit in (("2.root.json", 10), ("1.root.json", 3)):
        with pytest.raises(MetadataMissing):
            kit.fetch(name, limit)
    with pytest.raises(KeyError):
        kit.blob(digest_of(b"another"))
    kit.close()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"PK\x03\x04",
        MAGIC,
        MAGIC + b"{}",
        MAGIC + b"{}\n",
        MAGIC + b"[" * 100_000 + b"\n",
        MAGIC + b"x" * (INDEX_BYTES + 10) + b"\n",
        written()[:-1],
        written() + b"x",
        written()[: len(MAGIC) + 20],
        written().replace(b"kit-1", b"kit-X"),
        written().replace(b'"1.root.json"', b'"../root.js"'),
        written().replace(b'"1.root.json"', b'"/.root.json'),
        written().replace(b'"box-1"', b'"../x1"'),
        written().replace(b'"box-1":9', b'"box-1":-9'),
        written().replace(b'"box-1":9', b'"box-1":9e9'),
        written().replace(b'"box-1":9', b'"box-1":99999999999999999999'),
    ],
)
def test_what_is_cut_off_grown_or_malformed_is_refused(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(KitError) as caught:
        read(tmp_path / "kit", content)
    assert caught.value.hint


@given(st.binary(max_size=300), st.integers(0, 400))
def test_any_bytes_instead_of_an_index_are_refused_or_read(noise: bytes, at: int) -> None:
    line = index_of(PARTS).encode()[len(MAGIC) :]
    for content in (noise, line[:at] + noise + line[at + len(noise) :]):
        try:
            parse_index(content)
        except KitError:
            continue


def test_numbers_of_entries_have_limits() -> None:
    fields = json.loads(index_of(PARTS).encode()[len(MAGIC) :])
    fields["documents"] = {f"box-{number}": 1 for number in range(MAX_DOCUMENTS + 1)}
    with pytest.raises(KitError, match="more than"):
        parse_index(json.dumps(fields).encode())


def test_a_pipe_and_a_device_are_no_kits() -> None:
    reader, writer = os.pipe()
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe, pytest.raises(KitError, match="a kit is a file"):
        Kit.read(pipe)
    with open("/dev/zero", "rb") as zeros, pytest.raises(KitError):  # noqa: PTH123 - a device
        Kit.read(zeros)


def test_a_kit_that_becomes_shorter_while_it_is_read_says_so(tmp_path: Path) -> None:
    kit = read(tmp_path / "kit", written())
    os.truncate(tmp_path / "kit", 600)
    with pytest.raises(KitError, match="became shorter"):
        b"".join(kit.blob(digest_of(BLOBS[0])))
    kit.close()


def test_a_sparse_giant_costs_only_its_index(tmp_path: Path) -> None:
    zeros = 8 * 2**30
    parts = {**PARTS, "blobs": {}}
    index = replace(index_of(parts), blobs={digest_of(b"zeros"): zeros})
    path = tmp_path / "kit"
    path.write_bytes(index.encode())
    os.truncate(path, len(index.encode()) + index.content_bytes)
    kit = Kit.read(path.open("rb"))
    assert kit.index.content_bytes > zeros
    kit.close()
