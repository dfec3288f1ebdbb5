"""A repository that sends too much, too slowly, or nonsense."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from sealane import limits
from sealane.errors import TrustError
from sealane.trust.director import X_ASSIGNMENT, digest_of, to_targets
from sealane.trust.verifier import Step, Verifier
from support.trust import DEVICE, FACTS, Scene, sign
from tuf.api.metadata import TargetFile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sealane.trust.source import MetadataSource
    from support.trust import ManualClock, Simulator

CHUNK = b"x" * 65536


class Endless:
    """A network that never stops sending one of the files."""

    def __init__(self, authority: Simulator, name: str) -> None:
        self.authority, self.name, self.sent = authority, name, 0

    def fetch(self, name: str, limit: int) -> Iterator[bytes]:
        if name != self.name:
            yield from self.authority.fetch(name, limit)
            return
        while True:
            self.sent += len(CHUNK)
            yield CHUNK


def _under(scene: Scene, source: MetadataSource) -> None:
    """A network of the attacker's."""
    scene.verifier = Verifier(scene.folder, source, DEVICE, scene.clock)


@pytest.mark.parametrize(
    ("name", "limit"),
    [
        ("2.root.json", limits.ROOT_BYTES),
        ("timestamp.json", limits.TIMESTAMP_BYTES),
        ("3.snapshot.json", limits.SNAPSHOT_BYTES),
    ],
)
def test_an_endless_file_is_cut_off_at_its_limit(scene: Scene, name: str, limit: int) -> None:
    scene.authority.approve("digits/classifier@1")
    scene.authority.approve("digits/classifier@2")
    endless = Endless(scene.authority, name)
    _under(scene, endless)
    scene.assert_refuses(Step.ROOT_CHAIN if "root" in name else Step.REFRESH)
    assert endless.sent <= limit + len(CHUNK)


def test_an_endless_family_is_cut_off_even_when_a_stolen_snapshot_key_allows_it(
    scene: Scene,
) -> None:
    slot = scene.authority.approve("digits/classifier@1")
    meta = scene.authority.snapshot.meta["digits.json"]
    meta.length, meta.hashes = 10**15, None
    scene.authority.publish()
    endless = Endless(scene.authority, f"{meta.version}.digits.json")
    _under(scene, endless)
    scene.assert_slot_refused(Step.LISTED, slot)
    assert endless.sent <= limits.TARGETS_BYTES + len(CHUNK)


def test_an_endless_manifest_is_cut_off_at_its_signed_length(scene: Scene) -> None:
    slot = scene.authority.approve("digits/classifier@1")
    name = next(name for name in scene.authority.files if name.startswith("targets/"))
    endless = Endless(scene.authority, name)
    _under(scene, endless)
    scene.assert_slot_refused(Step.MANIFEST, slot)
    assert endless.sent == len(CHUNK)


def test_a_manifest_that_is_signed_as_huge_is_not_fetched(scene: Scene) -> None:
    content = b"x" * (limits.MANIFEST_BYTES + 1)
    slot = scene.authority.approve("digits/classifier@1")
    custom = {"slots": ["cam"], "requires": {}}
    scene.authority.list_target("digits", slot.release.target_path, content, custom)
    target = TargetFile.from_data(slot.release.target_path, content, ["sha256"])
    huge = replace(slot, manifest=digest_of(target), length=len(content))
    scene.authority.asked.clear()
    scene.assert_slot_refused(Step.MANIFEST, huge)
    assert not any(name.startswith("targets/") for name in scene.authority.asked)


def test_a_repository_that_drips_bytes_is_given_up(scene: Scene) -> None:
    _under(scene, Drip(scene.authority, scene.clock))
    assert "did not arrive" in str(scene.assert_refuses(Step.REFRESH))


class Drip:
    """A network that sends a byte a second."""

    def __init__(self, authority: Simulator, clock: ManualClock) -> None:
        self.authority, self.clock = authority, clock

    def fetch(self, name: str, limit: int) -> Iterator[bytes]:
        for content in self.authority.fetch(name, limit):
            if name != "timestamp.json":
                yield content
                continue
            for byte in content:
                self.clock.ticks += 1
                yield bytes([byte])


def test_a_huge_director_document_is_refused_before_it_is_read(scene: Scene) -> None:
    with pytest.raises(TrustError) as caught:
        scene.hear(b"[" * (limits.DIRECTOR_DOCUMENT_BYTES + 1), None)
    assert caught.value.step == Step.SIZE_CAP


_NONSENSE: list[bytes] = [
    b"",
    b"\xff\xfe",
    b"null",
    b"[]",
    b'{"signed": 1, "signatures": []}',
    b'{"signed": {"_type": "targets"}, "signatures": []}',
    b'{"signed": {}, "signatures": {}}',
    b"[" * 100_000,
    b'{"signed":' * 5_000,
    b'{"signatures": [], "signed": {"_type": "targets", "version": ' + b"9" * 5_000 + b"}}",
    b'{"signatures": [], "signed": {"_type": "timestamp", "version": NaN}}',
]


@pytest.mark.parametrize("nonsense", _NONSENSE, ids=range(len(_NONSENSE)))
def test_a_director_document_of_nonsense_is_refused(scene: Scene, nonsense: bytes) -> None:
    with pytest.raises(TrustError) as caught:
        scene.hear(nonsense, None)
    assert caught.value.step == Step.THRESHOLD


@pytest.mark.parametrize("nonsense", _NONSENSE, ids=range(len(_NONSENSE)))
@pytest.mark.parametrize(
    "name", ["2.root.json", "timestamp.json", "1.snapshot.json", "1.targets.json"]
)
def test_metadata_of_nonsense_is_refused(scene: Scene, name: str, nonsense: bytes) -> None:
    scene.authority.files[name] = nonsense
    with pytest.raises(TrustError) as caught:
        scene.poll()
    assert caught.value.step in (Step.ROOT_CHAIN, Step.REFRESH)


def _break(path: tuple[str, ...], value: object) -> Callable[[dict[str, object]], None]:
    def change(assignment: dict[str, object]) -> None:
        fields: dict[str, object] = assignment
        for key in path[:-1]:
            inner = fields[key]
            assert isinstance(inner, dict)
            fields = inner
        fields[path[-1]] = value

    return change


_A_HOLD = {
    "id": "m-1",
    "slot": "cam",
    "owner": "ada",
    "reason": "batch 12",
    "until": "2026-01-01T12:00:00Z",
}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("device",), 7),
        (("device",), "../../etc"),
        (("nonce",), ["x"]),
        (("nonce",), "x" * 1000),
        (("issued",), "yesterday"),
        (("issued",), None),
        (("repo",), []),
        (("repo", "root"), "1"),
        (("repo", "snapshot"), -1),
        (("generation",), True),
        (("slots",), []),
        (("slots", "cam"), None),
        (("slots", "../cam"), {}),
        (("slots", "cam", "release"), "digits/other@1"),
        (("slots", "cam", "release"), 3),
        (("slots", "cam", "rollout"), None),
        (("slots", "cam", "lease"), {"id": "x"}),
        (("slots", "cam", "lease"), {"id": "x", "expires": "soon"}),
        (("slots", "cam", "lease"), "forever"),
        (("holds",), {}),
        (("holds",), [{}]),
        (("holds",), [_A_HOLD | {"until": "for ever"}]),
        (("holds",), [_A_HOLD | {"until": "9999-12-31T00:00:00Z"}]),
        (("holds",), [_A_HOLD | {"owner": ""}]),
        (("holds",), [_A_HOLD | {"reason": "x" * 201}]),
        (("holds",), [_A_HOLD | {"reason": "two\nlines"}]),
        (("holds",), [_A_HOLD | {"slot": "../cam"}]),
        (("holds",), [_A_HOLD, _A_HOLD]),
        (("holds",), [_A_HOLD | {"id": f"m-{each}"} for each in range(65)]),
        (("quarantine",), ["sha256:00"]),
        (("quarantine",), {"latest": {"reason": "x"}}),
        (("quarantine",), {f"sha256:{0:064x}": "x"}),
        (("quarantine",), {f"sha256:{0:064x}": {"reason": "x" * 201}}),
        (("quarantine",), {f"sha256:{each:064x}": {"reason": "x"} for each in range(257)}),
    ],
)
def test_a_malformed_assignment_that_the_director_signed_is_refused(
    scene: Scene, path: tuple[str, ...], value: object
) -> None:
    slot = scene.authority.approve("digits/classifier@1")
    nonce = scene.verifier.new_nonce()
    signed = to_targets(scene.authority.document([slot], nonce))
    _break(path, value)(signed.unrecognized_fields[X_ASSIGNMENT])
    with pytest.raises(TrustError) as caught:
        scene.verifier.accept(sign(signed, scene.authority.keys["director"]), nonce, FACTS)
    assert caught.value.step == Step.DEVICE


class Broken:
    """A network whose line is cut."""

    def fetch(self, name: str, limit: int) -> Iterator[bytes]:
        raise ConnectionResetError(name, limit)


def test_trouble_on_the_line_is_not_mistaken_for_a_refusal(scene: Scene) -> None:
    _under(scene, Broken())
    with pytest.raises(ConnectionResetError):
        scene.poll()


def test_a_deeply_nested_requirement_is_refused_not_crashed_on(scene: Scene) -> None:
    nested: object = "x"
    for _ in range(200):
        nested = [nested]
    slot = scene.authority.approve("digits/classifier@1", requires={"arch": nested})
    scene.assert_slot_refused(Step.REQUIRES, slot)
