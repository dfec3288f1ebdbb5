"""References, addresses, challenges and credentials: what is decided before anything is sent."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sealane.errors import InvalidName, SealaneError
from sealane_manager.errors import Refused, RegistryError
from sealane_manager.registry.challenge import Challenge, read_challenge, token_desk
from sealane_manager.registry.credentials import Credentials, find_credentials, usual_files
from sealane_manager.registry.origins import Origin, led, origin_of, registry_origin
from sealane_manager.registry.reference import Reference
from sealane_manager.shown import shown

DIGEST = "sha256:" + "a" * 64


@pytest.mark.parametrize(
    ("text", "host", "repository", "named"),
    [
        ("localhost/a:1", "localhost", "a", "1"),
        ("localhost:5000/vision/defect:7", "localhost:5000", "vision/defect", "7"),
        (f"r.example/a/b/c@{DIGEST}", "r.example", "a/b/c", DIGEST),
        (f"r.example/a__b/c-d.e:v1.0@{DIGEST}", "r.example", "a__b/c-d.e", DIGEST),
        ("[::1]:5000/a:1", "[::1]:5000", "a", "1"),
        ("10.0.0.7:443/a:latest", "10.0.0.7:443", "a", "latest"),
    ],
)
def test_a_reference_names_host_repository_and_bundle(
    text: str, host: str, repository: str, named: str
) -> None:
    found = Reference.parse(text)
    assert (found.host, found.repository, found.named) == (host, repository, named)
    assert str(found) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "vision/defect:7",  # a host is never guessed
        "defect:7",
        "r.example/a",
        "r.example/A:1",
        "r.example/../a:1",
        "r.example/a//b:1",
        "r.example/a:",
        "r.example/a:-1",
        "r.example/a:1\n",
        "r.example/a:1?x=y",
        f"r.example/a@{DIGEST[:-1]}",
        f"r.example/a@{DIGEST}@{DIGEST}",
        "https://r.example/a:1",
        "anna:secret@r.example/a:1",
        "r.example:0/a:1",
        "r.example:65536/a:1",
        "-r.example/a:1",
        "r.example/" + "a" * 600 + ":1",
    ],
)
def test_what_is_no_reference_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(InvalidName) as caught:
        Reference.parse(text)
    assert len(str(caught.value).splitlines()) == 1
    assert caught.value.hint


@given(st.text(max_size=80))
def test_any_text_is_a_reference_that_reads_the_same_again_or_none(text: str) -> None:
    try:
        found = Reference.parse(text)
    except InvalidName:
        return
    assert Reference.parse(str(found)) == found


def test_without_tls_only_this_machine_is_asked() -> None:
    for host in ("localhost:5000", "127.0.0.1:5000", "127.9.9.9", "[::1]:5000"):
        assert registry_origin(host, plain=True, over_network=False).scheme == "http"
    with pytest.raises(Refused, match="another machine"):
        registry_origin("r.example:5000", plain=True, over_network=False)
    loud = registry_origin("r.example:5000", plain=False, over_network=True)
    assert (loud.scheme, loud.is_private) == ("http", False)
    assert registry_origin("r.example", plain=False, over_network=False).port == 443


@pytest.mark.parametrize("host", ["localhost.evil.example", "127.0.0.1.evil.example", "0.0.0.0"])  # noqa: S104 - a name that is not loopback's
def test_a_host_that_only_looks_like_this_machine_is_another(host: str) -> None:
    with pytest.raises(Refused):
        registry_origin(host, plain=True, over_network=False)


def test_from_tls_an_address_leads_to_tls_only() -> None:
    start = "https://r.example/v2/a/manifests/1"
    assert led(start, "/v2/x") == "https://r.example/v2/x"
    assert led(start, "https://cdn.example/x?sig=1") == "https://cdn.example/x?sig=1"
    for location in ("http://r.example/x", "http://127.0.0.1/x"):
        with pytest.raises(RegistryError, match="from TLS to"):
            led(start, location)


@given(st.text(max_size=60))
def test_whatever_a_registry_leads_to_is_http_or_refused(location: str) -> None:
    try:
        target = led("https://r.example/v2/a", location)
    except RegistryError:
        return
    assert origin_of(target).scheme == "https"


@given(st.text())
def test_whatever_a_registry_says_is_one_short_line_of_plain_characters(said: str) -> None:
    found = shown(said)
    assert len(found) <= 200
    assert found.isprintable()


def test_origins_differ_in_scheme_host_or_port() -> None:
    assert origin_of("https://R.example/a") == origin_of("https://r.example:443/b?c")
    assert origin_of("https://r.example") != origin_of("https://r.example:444")
    assert origin_of("http://[::1]:5/") == Origin("http", "::1", 5)


def test_the_best_way_in_is_chosen() -> None:
    bearer = 'Bearer realm="https://r.example/token",service="r",scope="x:y:z"'
    wanted = Challenge("bearer", "https://r.example/token", "r")
    assert read_challenge([bearer]) == wanted
    assert read_challenge(['Basic realm="r"', bearer]) == wanted
    assert read_challenge([f'Basic realm="r", {bearer}']) == wanted
    assert read_challenge(['basic realm="r"']).scheme == "basic"


@given(st.lists(st.text(max_size=60), max_size=4))
def test_any_challenge_is_understood_or_refused(headers: list[str]) -> None:
    try:
        challenge = read_challenge(headers)
        token_desk(challenge, "https://r.example/v2/", (), ("repository:a:pull",))
    except SealaneError:
        return
    assert challenge.scheme in {"basic", "bearer"}


def test_a_realm_without_tls_gets_nothing() -> None:
    challenge = Challenge("bearer", "http://r.example/token")
    with pytest.raises(RegistryError, match="from TLS"):
        token_desk(challenge, "https://r.example/v2/", ("r.example",), ())


def kept(folder: Path, content: object) -> tuple[Path]:
    path = folder / "config.json"
    path.write_text(json.dumps(content))
    return (path,)


def auth(user: str, password: str) -> dict[str, str]:
    return {"auth": base64.b64encode(f"{user}:{password}".encode()).decode()}


def test_credentials_are_those_of_the_closest_entry(tmp_path: Path) -> None:
    files = kept(
        tmp_path,
        {"auths": {"r.example": auth("any", "1"), "r.example/vision": auth("vision", "a:b")}},
    )
    assert find_credentials(files, "r.example", "vision/defect") == Credentials("vision", "a:b")
    assert find_credentials(files, "r.example", "sound/bell") == Credentials("any", "1")
    assert find_credentials(files, "r.example:5000", "vision/defect") is None
    assert find_credentials(files, "example", "vision/defect") is None


def test_credentials_are_read_in_every_form_that_they_are_kept_in(tmp_path: Path) -> None:
    for entry, found in (
        ({"username": "anna", "password": "x"}, Credentials("anna", "x")),
        ({"identitytoken": "t"}, Credentials("", "", "t")),
        ({}, None),
    ):
        files = kept(tmp_path, {"auths": {"https://r.example/v1/": entry}})
        assert find_credentials(files, "r.example", "a") == found


def test_docker_hubs_entry_has_another_name_than_its_registry(tmp_path: Path) -> None:
    files = kept(tmp_path, {"auths": {"https://index.docker.io/v1/": auth("anna", "x")}})
    hub = Reference.parse("registry-1.docker.io/anna/defect:1")
    assert find_credentials(files, hub.host, hub.repository) == Credentials("anna", "x")
    assert find_credentials(files, "docker.io.example", "anna/defect") is None


def test_a_helper_is_asked_as_docker_asks_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    helper = tmp_path / "docker-credential-test"
    helper.write_text(
        '#!/bin/sh\nread host\necho "{\\"Username\\":\\"$1 $host\\",\\"Secret\\":\\"s\\"}"\n'
    )
    helper.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    files = kept(tmp_path, {"credHelpers": {"r.example": "test"}, "credsStore": "other"})
    assert find_credentials(files, "r.example", "a") == Credentials("get r.example", "s")


@pytest.mark.parametrize("name", ["../evil", "a b", "-x", "", "x" * 100])
def test_what_is_no_name_of_a_helper_is_not_run(name: str, tmp_path: Path) -> None:
    files = kept(tmp_path, {"credsStore": name})
    if not name:
        assert find_credentials(files, "r.example", "a") is None
        return
    with pytest.raises(Refused, match="not the name of a credential helper"):
        find_credentials(files, "r.example", "a")


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"{", b'{"auths":1}', b'{"auths":{"r.example":{"auth":"%"}}}']
)
def test_a_file_that_holds_no_credentials_is_named(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_bytes(content)
    with pytest.raises(Refused, match=str(path)):
        find_credentials((path,), "r.example", "a")


def test_credentials_show_themselves_to_nobody() -> None:
    shown = repr(Credentials("anna", "secret-1", "secret-2"))
    assert "anna" in shown
    assert "secret" not in shown


def test_files_are_looked_for_where_other_tools_keep_them() -> None:
    home = Path("/anna")
    assert usual_files({}, home) == (home / ".docker" / "config.json",)
    assert usual_files({"DOCKER_CONFIG": "/d", "XDG_RUNTIME_DIR": "/r"}, home) == (
        Path("/r/containers/auth.json"),
        Path("/d/config.json"),
    )
    assert usual_files({"REGISTRY_AUTH_FILE": "/x"}, home) == (Path("/x"),)
