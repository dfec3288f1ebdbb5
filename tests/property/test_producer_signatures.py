"""Whatever is changed in a signature, it is refused or it is the same signature."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st
from sealane.bundle.manifest import digest_of
from sealane.bundle.signature import open_envelope, producer_of
from sealane.bundle.statement import SIGNATURE_PATH, check_statement, encode_statement
from sealane.errors import BundleError
from support.bundles import manifest_of, tiny_files
from support.signed import ACME, known, signed_files_of

if TYPE_CHECKING:
    from sealane.bundle.types import Manifest

SEGMENT = st.from_regex(r"f[a-z0-9_]{0,5}", fullmatch=True)
PATHS = st.lists(SEGMENT, min_size=1, max_size=3).map("/".join)
FILES = st.dictionaries(PATHS, st.binary(max_size=4).map(digest_of), min_size=1, max_size=8)


@cache
def _signed() -> tuple[Manifest, bytes]:
    content = signed_files_of()[SIGNATURE_PATH]
    return manifest_of({**tiny_files(), SIGNATURE_PATH: content})[0], content


@given(st.data())
def test_a_byte_that_is_changed_anywhere_gives_a_refusal_or_the_same_statement(
    data: st.DataObject,
) -> None:
    manifest, content = _signed()
    place = data.draw(st.integers(0, len(content) - 1))
    other = bytearray(content)
    other[place] = data.draw(st.integers(0, 255))
    try:
        producer_of(manifest, bytes(other), [known(ACME)])
    except BundleError:
        return
    assert open_envelope(bytes(other)).payload == open_envelope(content).payload


@given(st.binary(max_size=200))
def test_any_bytes_are_a_signature_or_refused_in_one_way(content: bytes) -> None:
    try:
        open_envelope(content)
    except BundleError:
        return


@given(FILES, FILES)
def test_a_statement_fits_its_own_files_and_no_others(
    files: dict[str, str], others: dict[str, str]
) -> None:
    statement = encode_statement("a/b", files)  # type: ignore[arg-type]  # digests by construction
    try:
        check_statement(statement, others)  # type: ignore[arg-type]  # the same
        fits = True
    except BundleError:
        fits = False
    assert fits == (files == others)
