from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from sealane.bundle.layout import blob_path
from sealane.errors import BundleError
from sealane.names import Digest, ReleaseName, SlotName
from sealane_manager.bundle.publish import PublishOrder, publish
from sealane_manager.errors import Refused
from sealane_manager.trust.changes import Change, Offer, Outcome
from sealane_manager.trust.releases import first_metadata
from securesystemslib.signer import CryptoSigner
from support.bundles import tiny_bundle, tiny_manifest
from tuf.api.metadata import DelegatedRole, Delegations, Metadata, Targets

SIGNER = CryptoSigner.generate_ed25519()


class FakeDesk:
    """A manager's release desk in memory, which writes down the order of what happens."""

    def __init__(self) -> None:
        self.blobs: dict[Digest, bytes] = {}
        self.metadata = first_metadata(SIGNER)
        self.families = ["demo"]
        self.calls: list[str] = []

    def missing_blobs(self, digests: Sequence[Digest]) -> Sequence[Digest]:
        return [digest for digest in digests if digest not in self.blobs]

    def upload_blob(self, digest: Digest, source: Path, progress: Callable[[int], None]) -> None:
        self.calls.append("upload")
        self.blobs[digest] = source.read_bytes()
        progress(len(self.blobs[digest]))

    def get_metadata(self, role: str) -> bytes:
        return {"demo": self.metadata, "targets": targets(self.families)}[role]

    def changes(self) -> tuple[Change, ...]:
        return ()

    def submit(self, offer: Offer) -> Outcome:
        assert offer.role == "demo"
        self.calls.append("submit")
        self.metadata = offer.metadata
        return Outcome(("demo",), 7)


def targets(families: Sequence[str]) -> bytes:
    roles = {
        name: DelegatedRole(name, [], 1, terminating=True, paths=[f"{name}/*"]) for name in families
    }
    return Metadata(Targets(delegations=Delegations({}, roles))).to_bytes()


def silent(_sent: int, _total: int) -> None:
    """Nobody watches."""


def order(folder: Path, release: str = "demo/tiny@1") -> PublishOrder:
    requires = {"arch": ["x86_64"], "cpus": 2}
    return PublishOrder(folder, ReleaseName.parse(release), (SlotName("cam"),), requires)


def test_blobs_go_first_and_then_the_signed_release(tmp_path: Path) -> None:
    desk, folder = FakeDesk(), tiny_bundle(tmp_path / "bundle")
    published = publish(order(folder), desk, SIGNER, silent)
    assert desk.calls == ["upload"] * 6 + ["submit"]
    assert desk.blobs[published.manifest.digest] == tiny_manifest().content
    assert published.snapshot == 7


def test_the_release_says_where_it_may_serve_and_what_it_needs(tmp_path: Path) -> None:
    desk = FakeDesk()
    publish(order(tiny_bundle(tmp_path / "bundle")), desk, SIGNER, silent)
    target = Metadata[Targets].from_bytes(desk.metadata).signed.targets["demo/tiny@1.json"]
    assert target.hashes == {"sha256": tiny_manifest().digest.removeprefix("sha256:")}
    assert target.length == len(tiny_manifest().content)
    assert target.custom["slots"] == ["cam"]
    assert target.custom["requires"] == {"arch": ["x86_64"], "cpus": 2}


def test_only_missing_blobs_are_sent(tmp_path: Path) -> None:
    desk = FakeDesk()
    first = publish(order(tiny_bundle(tmp_path / "one")), desk, SIGNER, silent)
    desk.calls.clear()
    second = publish(order(tiny_bundle(tmp_path / "two", 2), "demo/tiny@2"), desk, SIGNER, silent)
    assert second.uploaded_bytes < first.uploaded_bytes
    assert desk.calls.count("upload") == 4  # the golden input and deployment.json are the same


def test_progress_reaches_the_announced_total(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    folder = tiny_bundle(tmp_path / "bundle")
    published = publish(order(folder), FakeDesk(), SIGNER, lambda *pair: seen.append(pair))
    assert seen[-1] == (published.uploaded_bytes, published.uploaded_bytes)
    assert sorted(seen) == seen


def test_a_version_that_is_listed_is_refused_before_anything_is_sent(tmp_path: Path) -> None:
    desk = FakeDesk()
    publish(order(tiny_bundle(tmp_path / "one")), desk, SIGNER, silent)
    desk.calls.clear()
    with pytest.raises(Refused, match="listed already"):
        publish(order(tiny_bundle(tmp_path / "two", 2)), desk, SIGNER, silent)
    assert desk.calls == []


@pytest.mark.parametrize(
    ("slots", "requires"), [((), {"cpus": 2}), ((SlotName("cam"),), {}), ((), {})]
)
def test_a_listed_release_keeps_its_slots_and_requirements(
    tmp_path: Path, slots: tuple[SlotName, ...], requires: dict[str, int]
) -> None:
    desk, folder = FakeDesk(), tiny_bundle(tmp_path / "one")
    first = replace(order(folder), requires={"cpus": 2})
    publish(first, desk, SIGNER, silent)
    before = desk.metadata
    with pytest.raises(Refused, match="listed already, for slot cam, requiring cpus=2"):
        publish(replace(first, slots=slots, requires=requires), desk, SIGNER, silent)
    assert desk.metadata == before
    publish(first, desk, SIGNER, silent)


def test_a_release_of_another_model_is_refused(tmp_path: Path) -> None:
    desk = FakeDesk()
    with pytest.raises(Refused, match="holds demo/tiny, not demo/other"):
        publish(order(tiny_bundle(tmp_path / "one"), "demo/other@1"), desk, SIGNER, silent)


def test_a_damaged_bundle_is_refused_before_anything_is_sent(tmp_path: Path) -> None:
    desk, folder = FakeDesk(), tiny_bundle(tmp_path / "bundle")
    blob_path(folder, tiny_manifest().layers[-1].digest).write_bytes(b"damaged")
    with pytest.raises(BundleError):
        publish(order(folder), desk, SIGNER, silent)
    assert desk.calls == []


def test_nothing_is_uploaded_for_a_family_that_has_ended(tmp_path: Path) -> None:
    desk = FakeDesk()
    desk.families = []
    with pytest.raises(Refused, match="no family 'demo'"):
        publish(order(tiny_bundle(tmp_path / "bundle")), desk, SIGNER, silent)
    assert desk.calls == []
