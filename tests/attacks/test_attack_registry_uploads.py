"""A registry that is not to be trusted with what it is sent."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from sealane.bundle.layout import blob_path
from sealane.errors import BundleError, SealaneError
from sealane_manager.errors import Refused, RegistryError
from sealane_manager.registry.credentials import Credentials
from sealane_manager.registry.send import PART_BYTES
from support.bundles import tiny_bundle, tiny_files, write_bundle
from support.registries import Asked, Client, FakeRegistry, Reply

if TYPE_CHECKING:
    from pathlib import Path

ANNA = Credentials("anna", "secret")


def test_a_registry_that_changes_the_manifest_is_noticed_at_once(
    there: FakeRegistry, layout: Path
) -> None:
    def changed(asked: Asked) -> Reply | None:
        if asked.method == "PUT" and "/manifests/" in asked.path:
            there.manifests["1"] = asked.body + b" "
            return Reply(201)
        return None

    there.lies.append(changed)
    with pytest.raises(RegistryError, match="stores sha256:"):
        Client(there.host).push(layout, "demo/tiny:1")


def test_an_upload_that_is_led_to_another_server_brings_it_no_credentials(
    there: FakeRegistry, elsewhere: FakeRegistry, layout: Path
) -> None:
    def moved(asked: Asked) -> Reply | None:
        if "Authorization" not in asked.headers:
            return Reply(401, {"WWW-Authenticate": 'Basic realm="x"'})
        if asked.method == "POST":
            return Reply(202, {"Location": f"http://{elsewhere.host}/v2/r/blobs/uploads/0"})
        return None

    there.lies.append(moved)
    elsewhere.uploads["0"] = b""
    with pytest.raises(SealaneError):
        Client(there.host, ANNA).push(layout, "demo/tiny:1")
    assert elsewhere.asked
    assert not [asked for asked in elsewhere.asked if "Authorization" in asked.headers]


def test_an_upload_is_not_sent_on_by_a_redirect(
    there: FakeRegistry, elsewhere: FakeRegistry, layout: Path
) -> None:
    there.lies.append(
        lambda asked: (
            Reply(307, {"Location": f"http://{elsewhere.host}{asked.path}"})
            if asked.method in {"POST", "PUT"}
            else None
        )
    )
    with pytest.raises(RegistryError, match="moves elsewhere"):
        Client(there.host).push(layout, "demo/tiny:1")
    assert elsewhere.asked == []


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """A bundle with a file of three parts."""
    content = bytes(range(256)) * (PART_BYTES // 128) + b"the rest"
    return write_bundle(tmp_path / "large", {**tiny_files(), "onnx-fp32/model.data": content})


def test_a_large_blob_goes_in_parts_and_goes_on_after_a_broken_connection(
    there: FakeRegistry, large: Path
) -> None:
    broken: list[Asked] = []

    def breaks(asked: Asked) -> Reply | None:
        if asked.method != "PATCH" or len(broken) == 2:
            return None
        broken.append(asked)
        return Reply(502)

    there.lies.append(breaks)
    client = Client(there.host)
    pushed = client.push(large, "demo/tiny:1")
    parts = [asked for asked in there.asked if asked.method == "PATCH"]
    assert [asked.headers["Content-Range"].partition("-")[0] for asked in parts] == [
        "0",
        "0",
        "0",
        str(PART_BYTES),
    ]
    assert client.done == sum(pushed.ways.values())


def test_a_registry_that_wants_parts_larger_than_memory_is_refused(
    there: FakeRegistry, large: Path
) -> None:
    there.lies.append(
        lambda asked: (
            Reply(202, {"Location": "/x", "OCI-Chunk-Min-Length": str(1 << 40)})
            if asked.method == "POST"
            else None
        )
    )
    with pytest.raises(RegistryError, match="wants parts of"):
        Client(there.host).push(large, "demo/tiny:1")


def test_a_tag_that_is_another_bundle_is_moved_only_when_that_is_said(
    there: FakeRegistry, layout: Path, tmp_path: Path
) -> None:
    client, second = Client(there.host), tiny_bundle(tmp_path / "second", 2)
    client.push(layout, "demo/tiny:1")
    before = len(there.asked)
    with pytest.raises(Refused, match="another bundle already"):
        client.push(second, "demo/tiny:1")
    assert {asked.method for asked in there.asked[before:]} == {"GET"}
    moved = client.push(second, "demo/tiny:1", replace=True)
    assert there.manifests["1"] == moved.manifest.content


def test_a_damaged_bundle_is_not_pushed(there: FakeRegistry, layout: Path) -> None:
    digest = next(iter(there.hold(layout).layers)).digest
    there.blobs.clear()
    blob_path(layout, digest).write_bytes(b"damaged")
    with pytest.raises(BundleError):
        Client(there.host).push(layout, "demo/tiny:1")
    assert there.asked == []
