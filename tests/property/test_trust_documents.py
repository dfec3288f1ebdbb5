"""Whatever a director, a token or a device's memory holds, it comes back as it was."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sealane.errors import SealaneError, TokenError
from sealane.fleet import DeviceFacts
from sealane.holds import Hold
from sealane.names import DeviceId, Digest, ReleaseName, SlotName
from sealane.policy import Policy, Trial
from sealane.trust import highwater
from sealane.trust.director import from_targets, to_targets
from sealane.trust.documents import DirectorDocument, Lease, Quarantined, SlotAssignment
from sealane.trust.highwater import HighWater, Mark
from sealane.trust.identity import parse_peer
from sealane.trust.requirements import unmet
from sealane.trust.token import JoinToken
from sealane.windows import parse_window
from sealane_manager.director import next_version
from sealane_manager.identity.ca import Issuer
from tuf.api.metadata import Metadata, Targets

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_words = st.from_regex(r"[a-z0-9]([a-z0-9_.-]{0,20}[a-z0-9])?", fullmatch=True)
_numbers = st.integers(0, 2**53)
_texts = st.text(max_size=40)
_seconds = st.integers(0, 2**34).map(
    lambda s: datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=s)
)
_digests = st.binary(min_size=32, max_size=32).map(lambda b: Digest("sha256:" + b.hex()))
_releases = st.builds(
    ReleaseName,
    st.tuples(_words, _words).map("/".join),
    st.integers(1, 2**31 - 1),
)
_policies = st.builds(
    Policy,
    activation=st.sampled_from([(), ((parse_window("daily 22:00-05:00"),),)]),
    trial=st.builds(
        Trial,
        st.integers(1, 1000).map(lambda share: share / 1000),
        st.integers(0, 600),
        st.integers(0, 600),
        st.integers(0, 1000).map(lambda share: share / 1000),
    ),
)
_leases = st.none() | st.builds(Lease, _texts, _seconds)


_said = _words | st.just("bâtiment 12 wartet")
_holds = st.builds(Hold, _words, st.just("") | _words.map(SlotName), _said, _said, _seconds)


@st.composite
def _slots(draw: st.DrawFn) -> tuple[SlotAssignment, ...]:
    bytes_of = draw(
        st.dictionaries(_releases, st.tuples(_digests, st.integers(0, 2**20)), max_size=4)
    )
    names = draw(st.lists(_words.map(SlotName), unique=True, max_size=6)) if bytes_of else []
    chosen = [draw(st.sampled_from(sorted(bytes_of))) for _ in names]
    return tuple(
        SlotAssignment(
            name,
            release,
            *bytes_of[release],
            draw(_texts),
            draw(_leases),
            draw(_policies),
            attempt=draw(_numbers),
        )
        for name, release in sorted(zip(names, chosen, strict=True))
    )


_documents = st.builds(
    DirectorDocument,
    device=_words.map(DeviceId),
    version=st.integers(1, 2**53),
    issued=_seconds,
    expires=_seconds,
    nonce=st.none() | _texts,
    root_version=_numbers,
    snapshot_version=_numbers,
    generation=_numbers,
    slots=_slots(),
    quarantined=st.none()
    | st.dictionaries(_digests, st.tuples(st.text(max_size=200), st.booleans()), max_size=4).map(
        lambda found: tuple(Quarantined(key, *found[key]) for key in sorted(found))
    ),
    holds=st.none() | st.lists(_holds, max_size=3, unique_by=lambda each: each.id).map(tuple),
)


@given(_documents)
def test_a_director_document_survives_signing_and_reading(document: DirectorDocument) -> None:
    content = Metadata(to_targets(document)).to_bytes()
    assert from_targets(Metadata[Targets].from_bytes(content).signed) == document


@cache
def _ca() -> bytes:
    with TemporaryDirectory() as folder:
        return Issuer.create(Path(folder), "acme").certificate


_tokens = st.builds(
    lambda host, port, root, words: JoinToken(f"{host}:{port}", _ca(), root, *words),
    st.from_regex(r"[A-Za-z0-9.-]{1,60}", fullmatch=True),
    st.integers(1, 65535),
    st.binary(min_size=32, max_size=32),
    st.tuples(*[st.from_regex(r"[A-Za-z0-9._-]{1,64}", fullmatch=True)] * 2),
)


@given(_tokens)
def test_a_join_token_survives_being_pasted(token: JoinToken) -> None:
    assert JoinToken.parse(token.encode()) == token


@given(_tokens, st.data())
def test_a_token_with_a_changed_character_is_refused_or_means_the_same(
    token: JoinToken, data: st.DataObject
) -> None:
    text = token.encode()
    place = data.draw(st.integers(0, len(text) - 1))
    letter = data.draw(st.sampled_from("ABCxyz019-_"))
    changed = text[:place] + letter + text[place + 1 :]
    try:
        assert JoinToken.parse(changed) == token
    except TokenError:
        assert changed != text


@given(st.text(max_size=200) | st.text(max_size=200).map("slj1_".__add__))
def test_any_text_is_a_token_or_a_token_error(text: str) -> None:
    with pytest.raises(TokenError):
        JoinToken.parse(text)


_marks = st.builds(Mark, _texts, _numbers)
_high_waters = st.builds(HighWater, _numbers, _marks, _marks, _marks, _marks)


@given(_high_waters)
def test_marks_survive_a_restart(marks: HighWater) -> None:
    with TemporaryDirectory() as folder:
        highwater.save(Path(folder) / "highwater.json", marks)
        assert highwater.load(Path(folder) / "highwater.json") == marks


@given(_high_waters, st.data())
def test_no_flipped_bit_changes_a_mark_unnoticed(marks: HighWater, data: st.DataObject) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "highwater.json"
        highwater.save(path, marks)
        content = bytearray(path.read_bytes())
        place = data.draw(st.integers(0, len(content) - 1))
        content[place] ^= 1 << data.draw(st.integers(0, 7))
        path.write_bytes(content)
        with suppress(SealaneError):
            assert highwater.load(path) == marks


@given(st.lists(st.tuples(st.sampled_from("ab"), _numbers), max_size=12))
def test_a_mark_never_falls_while_its_keys_stay(steps: list[tuple[str, int]]) -> None:
    mark = Mark()
    for keys, version in steps:
        before = mark.floor(keys)
        mark = mark.raised(keys, version)
        assert mark.floor(keys) >= max(before, version)


@given(st.lists(_seconds, min_size=1, max_size=12))
def test_directors_versions_grow_whatever_the_clock_does(moments: list[datetime]) -> None:
    last = 0
    for moment in moments:
        version = next_version(last, moment)
        assert version > last
        assert version >= int(moment.timestamp())
        last = version


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | _texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_texts, inner, max_size=3),
    max_leaves=8,
)
_FACTS = DeviceFacts("x86_64", "linux", 4, 2**32, (), "")
_KNOWN = ["accelerator", "arch", "cpus", "memory_bytes", "os", "runtime"]


@given(st.dictionaries(st.sampled_from(_KNOWN) | _texts, _json, min_size=1))
def test_a_requirement_is_met_only_when_it_is_known_and_true(requires: dict[str, object]) -> None:
    complaint = unmet(requires, _FACTS)
    if complaint is None:
        assert set(requires) <= {"arch", "cpus", "memory_bytes", "os"}
    else:
        assert complaint.startswith("requires ")


@given(st.text(max_size=100))
def test_any_text_is_a_peer_or_a_refusal(text: str) -> None:
    try:
        peer = parse_peer(text)
    except SealaneError:
        return
    assert text == f"spiffe://{peer.fleet}/{peer.kind}/{peer.name}"
