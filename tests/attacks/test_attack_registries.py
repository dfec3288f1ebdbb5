"""A registry that is not to be trusted: damaged, broken into, or made to attack who asks it."""

from __future__ import annotations

import gzip
import itertools
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

import pytest
from sealane.bundle.check import check_bundle
from sealane.bundle.manifest import OCI_MANIFEST, digest_of
from sealane.errors import BundleError, SealaneError
from sealane.limits import MANIFEST_BYTES
from sealane_manager.errors import NotKnown, Refused, RegistryError, Unreachable
from sealane_manager.registry.credentials import Credentials
from support.bundles import tiny_bundle
from support.registries import Asked, Client, FakeRegistry, Reply

if TYPE_CHECKING:
    from pathlib import Path

    from sealane.bundle.types import Layer, Manifest

MODEL = "onnx-fp32/model.onnx"
ANNA = Credentials("anna", "secret")


@pytest.fixture
def manifest(there: FakeRegistry, layout: Path) -> Manifest:
    return there.hold(layout, "1")


def layer_of(manifest: Manifest, path: str = MODEL) -> Layer:
    return next(layer for layer in manifest.layers if layer.path == path)


def lie(there: FakeRegistry, end: str, reply: Reply) -> None:
    """Answer everything whose path ends so with this."""
    there.lies.append(lambda asked: reply if asked.path.endswith(end) else None)


def refused(there: FakeRegistry, tmp_path: Path, named: str = "demo/tiny:1") -> SealaneError:
    """What pulling ends with; nothing of the bundle may be there then."""
    out = tmp_path / "out"
    with pytest.raises(SealaneError) as caught:
        Client(there.host).pull(named, out)
    assert not out.exists()
    assert len(str(caught.value).splitlines()) == 1
    return caught.value


def test_an_honest_registry_gives_the_bundle_that_it_holds(
    there: FakeRegistry, manifest: Manifest, tmp_path: Path
) -> None:
    client = Client(there.host)
    assert client.pull("demo/tiny:1", tmp_path / "out") == manifest
    assert check_bundle(tmp_path / "out") == manifest
    assert client.done == sum(layer.size for layer in (manifest.config, *manifest.layers))
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


@pytest.mark.parametrize(
    "path", [MODEL, "deployment.json", "golden/input/x.bin", "golden/output/y.bin"]
)
def test_a_flipped_bit_in_a_blob_is_refused_and_not_kept(
    path: str, there: FakeRegistry, manifest: Manifest, tmp_path: Path
) -> None:
    layer = layer_of(manifest, path)
    content = there.blobs[layer.digest]
    there.blobs[layer.digest] = bytes([content[0] ^ 1]) + content[1:]
    assert "sends other bytes than sha256:" in str(refused(there, tmp_path))
    kept = tmp_path / ".out.pulling" / "blobs" / "sha256"
    assert not [each for each in kept.iterdir() if each.name.startswith(layer.digest[7:])]


def test_a_longer_blob_is_refused_before_its_first_byte(
    there: FakeRegistry, manifest: Manifest, tmp_path: Path
) -> None:
    there.blobs[layer_of(manifest).digest] += b"!"
    assert "announces" in str(refused(there, tmp_path))


def test_a_shorter_blob_is_refused_before_its_first_byte(
    there: FakeRegistry, manifest: Manifest, tmp_path: Path
) -> None:
    layer = layer_of(manifest)
    there.blobs[layer.digest] = there.blobs[layer.digest][:-1]
    assert "announces" in str(refused(there, tmp_path))


def test_a_blob_without_end_is_cut_at_its_size(
    there: FakeRegistry, manifest: Manifest, tmp_path: Path
) -> None:
    lie(there, layer_of(manifest).digest, Reply(body=itertools.repeat(b"x" * 4096)))
    assert "sends other bytes" in str(refused(there, tmp_path))


def test_a_blob_that_ends_early_again_and_again_is_given_up_and_continued_by_the_next_pull(
    there: FakeRegistry, manifest: Manifest, tmp_path: Path
) -> None:
    layer = layer_of(manifest)
    content = there.blobs[layer.digest]
    half = len(content) // 2

    def short(asked: Asked) -> Reply | None:
        if not asked.path.endswith(layer.digest):
            return None
        if "Range" in asked.headers:
            where = {"Content-Range": f"bytes {half}-{len(content) - 1}/{len(content)}"}
            return Reply(206, where, iter([]))
        return Reply(200, {}, iter([content[:half]]))

    there.lies.append(short)
    assert "ended onnx-fp32/model.onnx after" in str(refused(there, tmp_path))
    there.lies.clear()
    there.asked.clear()
    assert Client(there.host).pull("demo/tiny:1", tmp_path / "out") == manifest
    ranges = [asked.headers["Range"] for asked in there.asked if "Range" in asked.headers]
    assert ranges == [f"bytes={half}-"]


def test_half_a_blob_that_is_damaged_is_fetched_anew_once(
    there: FakeRegistry, manifest: Manifest, tmp_path: Path
) -> None:
    layer = layer_of(manifest)
    blobs = tmp_path / ".out.pulling" / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    (blobs / f"{layer.digest[7:]}.partial").write_bytes(b"not its beginning")
    assert Client(there.host).pull("demo/tiny:1", tmp_path / "out") == manifest


def test_a_registry_that_knows_no_ranges_begins_again(
    there: FakeRegistry, manifest: Manifest, tmp_path: Path
) -> None:
    layer = layer_of(manifest)
    blobs = tmp_path / ".out.pulling" / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    (blobs / f"{layer.digest[7:]}.partial").write_bytes(there.blobs[layer.digest][:10])
    lie(there, layer.digest, Reply(200, {}, there.blobs[layer.digest]))
    assert Client(there.host).pull("demo/tiny:1", tmp_path / "out") == manifest


@pytest.mark.parametrize("where", ["bytes 3-9/10", "bytes 10-99/1000", "words", ""])
def test_another_part_than_the_one_asked_for_is_refused(
    where: str, there: FakeRegistry, manifest: Manifest, tmp_path: Path
) -> None:
    layer = layer_of(manifest)
    blobs = tmp_path / ".out.pulling" / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    (blobs / f"{layer.digest[7:]}.partial").write_bytes(there.blobs[layer.digest][:10])
    lie(there, layer.digest, Reply(206, {"Content-Range": where}, b"x"))
    assert "another part of the blob" in str(refused(there, tmp_path))


def test_a_registry_that_drips_is_given_up(
    there: FakeRegistry, manifest: Manifest, tmp_path: Path
) -> None:
    lie(there, layer_of(manifest).digest, Reply(body=iter([b"x"])))
    client = Client(there.host, tick=70.0)
    with pytest.raises(Unreachable, match="too slowly"):
        client.pull("demo/tiny:1", tmp_path / "out")


def test_a_manifest_of_another_type_is_refused(
    there: FakeRegistry, manifest: Manifest, tmp_path: Path
) -> None:
    lie(there, "/1", Reply(200, {"Content-Type": "text/html"}, manifest.content))
    assert "'text/html', not the manifest" in str(refused(there, tmp_path))


def test_another_manifest_than_the_digest_says_is_refused(
    there: FakeRegistry, manifest: Manifest, tmp_path: Path
) -> None:
    other = there.hold(tiny_bundle(tmp_path / "other", 2))
    there.manifests[manifest.digest] = other.content
    error = refused(there, tmp_path, f"demo/tiny@{manifest.digest}")
    assert f"a manifest of {other.digest} for {manifest.digest}" in str(error)


def test_a_manifest_that_contradicts_its_own_header_is_refused(
    there: FakeRegistry, manifest: Manifest, tmp_path: Path
) -> None:
    headers = {"Content-Type": OCI_MANIFEST, "Docker-Content-Digest": digest_of(b"other")}
    lie(there, "/1", Reply(200, headers, manifest.content))
    assert isinstance(refused(there, tmp_path), BundleError)


def test_a_header_moves_no_terminal(
    there: FakeRegistry, manifest: Manifest, tmp_path: Path
) -> None:
    headers = {"Content-Type": OCI_MANIFEST, "Docker-Content-Digest": "sha256:\x1b[2J"}
    lie(there, "/1", Reply(200, headers, manifest.content))
    assert "\x1b" not in str(refused(there, tmp_path))


def test_a_manifest_without_end_is_cut_at_its_limit(
    there: FakeRegistry, manifest: Manifest, tmp_path: Path
) -> None:
    del manifest
    endless = itertools.repeat(b" " * 4096)
    lie(there, "/1", Reply(200, {"Content-Type": OCI_MANIFEST}, endless))
    assert f"more than {MANIFEST_BYTES} bytes" in str(refused(there, tmp_path))


def test_a_manifest_whose_file_leaves_the_folder_is_refused(
    there: FakeRegistry, manifest: Manifest, tmp_path: Path
) -> None:
    evil = manifest.content.replace(b"golden/input/x.bin", b"../golden/in/x.bin")
    lie(there, "/1", Reply(200, {"Content-Type": OCI_MANIFEST}, evil))
    assert "is not a path that a bundle may hold" in str(refused(there, tmp_path))


def test_what_is_compressed_is_refused_and_never_unpacked(
    there: FakeRegistry, manifest: Manifest, tmp_path: Path
) -> None:
    headers = {"Content-Type": OCI_MANIFEST, "Content-Encoding": "gzip"}
    lie(there, "/1", Reply(200, headers, gzip.compress(manifest.content)))
    assert "compresses" in str(refused(there, tmp_path))


def test_a_loop_of_redirects_ends(there: FakeRegistry, manifest: Manifest, tmp_path: Path) -> None:
    del manifest
    lie(there, "/1", Reply(307, {"Location": "/v2/demo/tiny/manifests/1"}))
    assert "more than 5 times" in str(refused(there, tmp_path))


@pytest.mark.parametrize(
    "location",
    [
        "file:///etc/passwd",
        "ftp://127.0.0.1/x",
        "http://anna:secret@127.0.0.1/x",
        "http://192.0.2.1/x",
        "https://",
        "http://[",
        "http://127.0.0.1:99999/x",
        "",
        "/" + "x" * 9000,
    ],
)
def test_a_redirect_to_no_good_address_is_not_followed(
    location: str, there: FakeRegistry, manifest: Manifest, tmp_path: Path
) -> None:
    del manifest
    lie(there, "/1", Reply(307, {"Location": location}))
    assert "leads to" in str(refused(there, tmp_path))


def test_credentials_do_not_follow_a_redirect_to_another_server(
    there: FakeRegistry, elsewhere: FakeRegistry, manifest: Manifest, tmp_path: Path
) -> None:
    elsewhere.blobs = dict(there.blobs)

    def moved(asked: Asked) -> Reply | None:
        if "Authorization" not in asked.headers:
            return Reply(401, {"WWW-Authenticate": 'Basic realm="x"'})
        if "/blobs/" in asked.path:
            return Reply(307, {"Location": f"http://{elsewhere.host}{asked.path}"})
        return None

    there.lies.append(moved)
    client = Client(there.host, ANNA)
    assert client.pull("demo/tiny:1", tmp_path / "out") == manifest
    assert len(elsewhere.asked) == len(manifest.layers) + 1
    assert not [asked for asked in elsewhere.asked if "Authorization" in asked.headers]


def test_another_server_behind_a_redirect_may_not_ask_who_it_is(
    there: FakeRegistry, elsewhere: FakeRegistry, manifest: Manifest, tmp_path: Path
) -> None:
    del manifest
    lie(there, "/1", Reply(307, {"Location": f"http://{elsewhere.host}/v2/x/manifests/1"}))
    lie(elsewhere, "/1", Reply(401, {"WWW-Authenticate": 'Basic realm="x"'}))
    with pytest.raises(Refused):
        Client(there.host, ANNA).pull("demo/tiny:1", tmp_path / "out")
    assert not [asked for asked in elsewhere.asked if "Authorization" in asked.headers]


def wants_token(there: FakeRegistry, realm: str) -> None:
    challenge = f'Bearer realm="{realm}",service="them",scope="repository:other/thing:push"'

    def ask(asked: Asked) -> Reply | None:
        if asked.path.startswith("/token") or "Authorization" in asked.headers:
            return None
        return Reply(401, {"WWW-Authenticate": challenge})

    there.lies.append(ask)


def gives_token(there: FakeRegistry, body: bytes) -> None:
    def give(asked: Asked) -> Reply | None:
        return Reply(body=body) if asked.path.startswith("/token") else None

    there.lies.append(give)


def test_a_token_is_asked_for_the_rights_that_are_needed_and_not_for_those_that_are_named(
    there: FakeRegistry, manifest: Manifest, tmp_path: Path
) -> None:
    wants_token(there, f"http://{there.host}/token")
    gives_token(there, b'{"token":"abc"}')
    assert Client(there.host, ANNA).pull("demo/tiny:1", tmp_path / "out") == manifest
    (asked,) = [asked for asked in there.asked if asked.path.startswith("/token")]
    assert asked.path == "/token?service=them&scope=repository%3Ademo%2Ftiny%3Apull"
    assert asked.headers["Authorization"] == ANNA.basic
    assert there.asked[-1].headers["Authorization"] == "Bearer abc"


def test_an_identity_token_is_given_for_a_token_and_not_to_the_registry_itself(
    there: FakeRegistry, manifest: Manifest, tmp_path: Path
) -> None:
    wants_token(there, f"http://{there.host}/token?kind=short")
    gives_token(there, b'{"access_token":"abc"}')
    client = Client(there.host, Credentials("", "", "long-lived"))
    assert client.pull("demo/tiny:1", tmp_path / "out") == manifest
    (asked,) = [asked for asked in there.asked if asked.path.startswith("/token")]
    form = parse_qs(asked.body.decode())
    assert (asked.method, asked.path) == ("POST", "/token?kind=short")
    assert form == {
        "service": ["them"],
        "scope": ["repository:demo/tiny:pull"],
        "client_id": ["sealane"],
        "grant_type": ["refresh_token"],
        "refresh_token": ["long-lived"],
    }
    others = [other for other in there.asked if other is not asked]
    assert not [other for other in others if "long-lived" in str(other)]


def test_a_realm_on_another_host_gets_credentials_only_when_it_was_named(
    there: FakeRegistry, elsewhere: FakeRegistry, manifest: Manifest, tmp_path: Path
) -> None:
    wants_token(there, f"http://localhost:{elsewhere.port}/token")
    gives_token(elsewhere, b'{"token":"abc"}')
    with pytest.raises(Refused, match="sends you to localhost for a token") as caught:
        Client(there.host, ANNA).pull("demo/tiny:1", tmp_path / "out")
    assert "--token-host localhost" in caught.value.hint
    assert elsewhere.asked == []
    client = Client(there.host, ANNA, ("localhost",))
    assert client.pull("demo/tiny:1", tmp_path / "out") == manifest


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        b'{"token":1}',
        b'{"token":"a\\r\\nX-Evil: 1"}',
        b'{"token":"' + b"a" * 70_000 + b'"}',
        b'{"token":"' + b"a" * 200_000 + b'"}',
        b"[" * 100_000,
    ],
)
def test_what_is_no_token_is_refused(
    body: bytes, there: FakeRegistry, manifest: Manifest, tmp_path: Path
) -> None:
    del manifest
    wants_token(there, f"http://{there.host}/token")
    gives_token(there, body)
    assert isinstance(refused(there, tmp_path), RegistryError)


@pytest.mark.parametrize(
    "challenge", ["", "Negotiate", "Bearer", 'Bearer realm="', 'Bearer realm="file:///etc/passwd"']
)
def test_a_way_in_that_is_none_is_refused(
    challenge: str, there: FakeRegistry, manifest: Manifest, tmp_path: Path
) -> None:
    del manifest
    lie(there, "/1", Reply(401, {"WWW-Authenticate": challenge}))
    with pytest.raises((RegistryError, Refused)):
        Client(there.host, ANNA).pull("demo/tiny:1", tmp_path / "out")
    assert not [asked for asked in there.asked if "Authorization" in asked.headers]


def test_a_registry_that_lets_in_nobody_is_asked_twice_and_no_more(
    there: FakeRegistry, manifest: Manifest, tmp_path: Path
) -> None:
    del manifest
    lie(there, "/1", Reply(401, {"WWW-Authenticate": 'Basic realm="x"'}))
    with pytest.raises(Refused, match="does not let in 'anna'") as caught:
        Client(there.host, ANNA).pull("demo/tiny:1", tmp_path / "out")
    assert "secret" not in f"{caught.value} {caught.value.hint}"
    assert len(there.asked) == 2


def test_the_words_of_a_registry_move_no_terminal(
    there: FakeRegistry, manifest: Manifest, tmp_path: Path
) -> None:
    del manifest
    evil = b'{"errors":[{"code":"X","message":"\\u001b[2J\\nerror: all is well"}]}'
    lie(there, "/1", Reply(418, {}, evil))
    assert str(refused(there, tmp_path)).endswith("answered 418: X ?[2J?error: all is well")


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_registry_that_is_busy_is_unreachable_for_now(
    status: int, there: FakeRegistry, manifest: Manifest, tmp_path: Path
) -> None:
    del manifest
    lie(there, "/1", Reply(status, {}, itertools.repeat(b"x" * 4096)))
    error = refused(there, tmp_path)
    assert isinstance(error, Unreachable)
    assert str(error).endswith(f"answered {status}")


def test_a_thousand_headers_are_not_read(
    there: FakeRegistry, manifest: Manifest, tmp_path: Path
) -> None:
    del manifest
    lie(there, "/1", Reply(200, {f"X-{number}": "x" for number in range(1000)}))
    assert isinstance(refused(there, tmp_path), Unreachable)


def test_what_is_not_there_is_said_to_be_missing(there: FakeRegistry, tmp_path: Path) -> None:
    assert isinstance(refused(there, tmp_path), NotKnown)


def test_the_place_where_a_pull_grows_may_not_be_somebody_elses_link(
    there: FakeRegistry, manifest: Manifest, tmp_path: Path
) -> None:
    del manifest
    (tmp_path / "target").mkdir()
    (tmp_path / ".out.pulling").symlink_to(tmp_path / "target")
    assert "belongs to somebody else" in str(refused(there, tmp_path))
    assert [*(tmp_path / "target").iterdir()] == []
