"""Bundles through Debian's docker-registry and skopeo, with the command line that people use."""

from __future__ import annotations

import base64
import json
import os
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from demo_story.processes import BIN
from sealane.bundle.check import check_bundle
from sealane.bundle.manifest import digest_of
from sealane_manager.cli.main import app
from sealane_manager.identity.ca import Issuer
from support.bundles import tiny_bundle, tiny_files, write_bundle
from support.debian import needs
from support.registries import Reply, docker_registry, registry
from support.stories import Refusal, contents
from support.token_desk import token_desk
from typer.testing import CliRunner

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.slow

RUNNER = CliRunner()

HASHED = "anna:$2y$05$abcdefghijklmnopqrstuu2cvE01LodgmnnJF6mDwdq9sxY7Kurlu"
"""anna with the password box-secret, by bcrypt, as htpasswd writes it."""


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with docker_registry(tmp_path_factory.mktemp("registry")) as found:
        yield found


def sealane(*arguments: object, **environment: str) -> dict[str, Any]:
    """Run a command that must succeed; what it printed."""
    found = RUNNER.invoke(app, [*map(str, arguments), "-o", "json"], env=environment)
    assert found.exit_code == 0, found.stderr
    said: dict[str, Any] = json.loads(found.stdout)
    return said


def refusal(*arguments: object) -> Refusal:
    """Run a command that must refuse: one line says what is wrong, a second one what to do."""
    found = RUNNER.invoke(app, [*map(str, arguments)])
    error, hint = found.stderr.splitlines()
    return Refusal(found.exit_code, error.removeprefix("error: "), hint.removeprefix("hint: "))


def served(folder: Path) -> tuple[Path, Path, Path]:
    """An authority, and a certificate of it for loopback with its key, as files."""
    issuer = Issuer.create(folder / "ca", "them")
    server = issuer.sign_server(["127.0.0.1"])
    files = folder / "ca.pem", folder / "server.pem", folder / "server.key"
    for path, content in zip(files, (issuer.bundle, server.certificate, server.key), strict=True):
        path.write_bytes(content)
    return files


def test_a_bundle_goes_to_a_registry_and_comes_back_the_same(host: str, tmp_path: Path) -> None:
    large = {"onnx-fp32/model.data": os.urandom(20_000_000)}
    layout = write_bundle(tmp_path / "layout", {**tiny_files(), **large})
    name = f"{host}/demo/large"
    pushed = sealane("bundle", "push", layout, f"{name}:1", "--plain-http")
    assert pushed["sent_bytes"] > 20_000_000
    again = sealane("bundle", "push", layout, f"{name}:1", "--plain-http")
    assert (again["held_bytes"], again["sent_bytes"]) == (pushed["sent_bytes"], 0)
    other = (f"{host}/demo/copy:1", "--mount-from", "demo/large", "--plain-http")
    shared = sealane("bundle", "push", layout, *other)
    assert (shared["mounted_bytes"], shared["sent_bytes"]) == (pushed["sent_bytes"], 0)

    by_digest = f"{host}/demo/copy@{pushed['digest']}"
    sealane("bundle", "pull", by_digest, "--plain-http", "--out", tmp_path / "back")
    assert contents(tmp_path / "back") == contents(layout)
    verified = sealane("bundle", "verify", tmp_path / "back")
    assert verified["digest"] == pushed["digest"]


def test_a_tag_is_moved_only_when_that_is_said(host: str, tmp_path: Path) -> None:
    first, second = tiny_bundle(tmp_path / "first"), tiny_bundle(tmp_path / "second", 2)
    name = f"{host}/demo/tag:1"
    sealane("bundle", "push", first, name, "--plain-http")
    found = refusal("bundle", "push", str(second), name, "--plain-http")
    assert found.code == 3
    assert "is another bundle already" in found.error
    assert "--replace" in found.hint
    sealane("bundle", "push", second, name, "--plain-http", "--replace")
    sealane("bundle", "pull", name, "--plain-http", "--out", tmp_path / "back")
    assert contents(tmp_path / "back") == contents(second)


def test_skopeo_copies_a_bundle_there_and_back_and_its_digest_stays(
    host: str, tmp_path: Path
) -> None:
    skopeo = needs("skopeo")
    layout = tiny_bundle(tmp_path / "layout")
    ours = check_bundle(layout).digest
    remote = f"docker://{host}/demo/skopeo:1"

    def copy(source: str, target: str, *options: str) -> None:
        command = [skopeo, "--insecure-policy", "copy", *options, source, target]
        subprocess.run(command, check=True, capture_output=True, timeout=120)

    copy(f"oci:{layout}", remote, "--dest-tls-verify=false")
    pulled = (f"{host}/demo/skopeo@{ours}", "--plain-http", "--out", tmp_path / "pulled")
    assert sealane("bundle", "pull", *pulled)["digest"] == ours
    assert contents(tmp_path / "pulled") == contents(layout)

    sealane("bundle", "push", tmp_path / "pulled", f"{host}/demo/skopeo:2", "--plain-http")
    copy(f"docker://{host}/demo/skopeo:2", f"oci:{tmp_path / 'copied'}", "--src-tls-verify=false")
    assert sealane("bundle", "verify", tmp_path / "copied")["digest"] == ours
    raw = [skopeo, "inspect", "--raw", "--tls-verify=false", f"docker://{host}/demo/skopeo:2"]
    answer = subprocess.run(raw, check=True, capture_output=True, timeout=60)
    assert digest_of(answer.stdout) == ours


def test_a_registry_whose_store_was_damaged_is_noticed(tmp_path: Path) -> None:
    layout = tiny_bundle(tmp_path / "layout")
    model = next(each for each in check_bundle(layout).layers if each.path.endswith(".onnx"))
    with docker_registry(tmp_path / "registry") as host:
        sealane("bundle", "push", layout, f"{host}/demo/tiny:1", "--plain-http")
        (stored,) = (tmp_path / "registry" / "store").rglob(f"{model.digest[7:]}/data")
        content = stored.read_bytes()
        stored.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        out = str(tmp_path / "out")
        command = ("bundle", "pull", f"{host}/demo/tiny:1", "--plain-http", "--out", out)
        found = refusal(*command)
    assert found.code == 1
    assert f"sends other bytes than {model.digest}" in found.error
    assert not (tmp_path / "out").exists()


def test_a_registry_with_tls_and_passwords_is_used_with_its_authority_and_a_login(
    tmp_path: Path,
) -> None:
    layout = tiny_bundle(tmp_path / "layout")
    authority, certificate, key = served(tmp_path / "tls")
    (tmp_path / "htpasswd").write_text(f"{HASHED}\n")
    settings = (
        f'http: {{addr: "127.0.0.1:0", tls: {{certificate: {certificate}, key: {key}}}}}',
        f"auth: {{htpasswd: {{realm: them, path: {tmp_path / 'htpasswd'}}}}}",
    )
    login = tmp_path / "login"
    login.mkdir()
    with docker_registry(tmp_path / "registry", *settings) as host:
        command = ("bundle", "push", str(layout), f"{host}/demo/tiny:1")
        untrusted = refusal(*command)
        assert untrusted.code == 4
        assert "has no certificate that is trusted here" in untrusted.error
        anybody = refusal(*command, "--ca", str(authority))
        assert anybody.code == 3
        assert "does not let in nobody" in anybody.error
        secret = base64.b64encode(b"anna:box-secret").decode()
        (login / "config.json").write_text(json.dumps({"auths": {host: {"auth": secret}}}))
        sealane(*command, "--ca", authority, DOCKER_CONFIG=str(login))
        back = ("bundle", "pull", f"{host}/demo/tiny:1", "--out", tmp_path / "back")
        sealane(*back, "--ca", authority, "--auth-file", login / "config.json")
    assert contents(tmp_path / "back") == contents(layout)


def test_a_registry_that_wants_tokens_is_given_one_for_what_is_done(tmp_path: Path) -> None:
    layout = tiny_bundle(tmp_path / "layout")
    with token_desk(tmp_path / "desk") as desk:
        settings = (
            'http: {addr: "127.0.0.1:0"}',
            "auth: {token: {realm: " + f'"http://{desk.host}/token"' + ", service: them, "
            f"issuer: desk, rootcertbundle: {tmp_path / 'desk' / 'desk.pem'}}}}}",
        )
        with docker_registry(tmp_path / "registry", *settings) as host:
            sealane("bundle", "push", layout, f"{host}/demo/tiny:1", "--plain-http")
            out = tmp_path / "back"
            sealane("bundle", "pull", f"{host}/demo/tiny:1", "--plain-http", "--out", out)
            other = ("bundle", "pull", f"{host}/demo/secret:1", "--plain-http")
            found = refusal(*other, "--out", str(tmp_path / "none"))
    assert contents(out) == contents(layout)
    assert found.code == 3
    assert "does not let in nobody for repository:demo/secret:pull" in found.error


def test_people_push_and_pull_with_the_program_itself(host: str, tmp_path: Path) -> None:
    layout = tiny_bundle(tmp_path / "layout")
    name, out = f"{host}/demo/program:1", tmp_path / "back"
    for arguments in (("push", layout, name), ("pull", name, "--out", out)):
        command = [BIN / "sealane", "bundle", *arguments, "--plain-http"]
        subprocess.run(command, check=True, capture_output=True, timeout=120)
    assert contents(out) == contents(layout)


def test_another_machine_without_tls_is_asked_only_loudly_and_through_the_proxy(
    tmp_path: Path,
) -> None:
    with registry() as proxy:
        manifest = proxy.hold(tiny_bundle(tmp_path / "layout"), "1")
        name, out = "registry.invalid/demo/tiny:1", tmp_path / "back"
        command = ["bundle", "pull", name, "--out", str(out)]
        way = {"http_proxy": f"http://anna:box@{proxy.host}", "no_proxy": "", "HOME": str(tmp_path)}
        assert refusal(*command, "--plain-http").code == 3
        done = RUNNER.invoke(app, [*command, "--plain-http-over-network"], env=way)
        assert done.exit_code == 0, done.stderr
    assert "warning: no TLS to registry.invalid" in done.stderr
    assert check_bundle(out) == manifest
    assert {asked.path[:27] for asked in proxy.asked} == {"http://registry.invalid:80/"}
    secret = base64.b64encode(b"anna:box").decode()
    assert {asked.headers["Proxy-Authorization"] for asked in proxy.asked} == {f"Basic {secret}"}


def test_credentials_do_not_go_where_others_can_read_them(tmp_path: Path) -> None:
    secret = base64.b64encode(b"anna:box-secret").decode()
    kept = {"auths": {"registry.invalid": {"auth": secret}}}
    (tmp_path / "config.json").write_text(json.dumps(kept))
    with registry() as proxy:
        proxy.lies.append(lambda _: Reply(401, {"WWW-Authenticate": 'Basic realm="x"'}))
        way = {"http_proxy": f"http://{proxy.host}", "DOCKER_CONFIG": str(tmp_path)}
        command = ["bundle", "pull", "registry.invalid/demo/tiny:1", "--out", str(tmp_path / "o")]
        done = RUNNER.invoke(app, [*command, "--plain-http-over-network"], env=way)
    assert done.exit_code == 3
    assert "without TLS everybody between would see them" in done.stderr
    assert not [asked for asked in proxy.asked if "Authorization" in asked.headers]
