"""Join tokens: what they carry, and what is refused."""

from __future__ import annotations

import base64
import json
import zlib
from typing import TYPE_CHECKING

import pytest
from sealane import limits
from sealane.errors import TokenError
from sealane.trust.token import PREFIX, JoinToken
from sealane_manager.identity.ca import Issuer

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import Any


@pytest.fixture(scope="module")
def token(tmp_path_factory: pytest.TempPathFactory) -> JoinToken:
    folder: Path = tmp_path_factory.mktemp("ca")
    ca = Issuer.create(folder, "acme").certificate
    return JoinToken("manager.example:7444", ca, b"r" * 32, "t-1", "0123456789abcdef")


def test_a_token_survives_being_pasted(token: JoinToken) -> None:
    assert JoinToken.parse(f"  {token.encode()}\n") == token


def test_a_token_begins_with_its_prefix_and_fits_on_a_command_line(token: JoinToken) -> None:
    text = token.encode()
    assert text.startswith("slj1_")
    assert len(text) < 1000
    assert all(character.isalnum() or character in "-_" for character in text)


def test_a_token_does_not_print_its_secret(token: JoinToken) -> None:
    assert token.secret not in repr(token)


@pytest.mark.parametrize("text", ["", "hello", "slj1_", "slj2_abc", "slj1_!!!!", "slj1_AAAA"])
def test_something_else_than_a_token_is_refused(text: str) -> None:
    with pytest.raises(TokenError) as caught:
        JoinToken.parse(text)
    assert "sealane device token" in caught.value.hint


def test_a_token_that_was_cut_off_is_refused(token: JoinToken) -> None:
    text = token.encode()
    for length in range(0, len(text) - 1, 7):
        with pytest.raises(TokenError):
            JoinToken.parse(text[:length])


def test_a_token_that_is_too_long_is_refused_unread() -> None:
    with pytest.raises(TokenError, match="at most"):
        JoinToken.parse(PREFIX + "A" * limits.JOIN_TOKEN_CHARS)


def _pack(content: bytes) -> str:
    return PREFIX + base64.urlsafe_b64encode(zlib.compress(content, 9)).decode().rstrip("=")


def test_a_bomb_is_refused() -> None:
    bomb = _pack(b"0" * (2 * 1024 * 1024))
    assert len(bomb) < limits.JOIN_TOKEN_CHARS
    with pytest.raises(TokenError):
        JoinToken.parse(bomb)


@pytest.mark.parametrize("content", [b"[]", b"7", b"{", b"\xff", b"[" * 50_000, b'{"a": "x:1"}'])
def test_other_json_is_refused(content: bytes) -> None:
    with pytest.raises(TokenError):
        JoinToken.parse(_pack(content))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("a", "manager"),
        ("a", "manager:0"),
        ("a", "manager:99999"),
        ("a", "http://manager:1"),
        ("a", "mana ger:1"),
        ("a", 7),
        ("c", "AAAA"),
        ("c", "%%%%"),
        ("r", "AAAA"),
        ("i", ""),
        ("i", "a b"),
        ("s", "x" * 200),
        ("s", None),
    ],
)
def test_a_token_with_a_malformed_field_is_refused(
    token: JoinToken, key: str, value: object
) -> None:
    def change(fields: dict[str, Any]) -> None:
        fields[key] = value

    with pytest.raises(TokenError):
        JoinToken.parse(_changed(token, change))


def _changed(token: JoinToken, change: Callable[[dict[str, Any]], None]) -> str:
    body = token.encode().removeprefix(PREFIX)
    content = zlib.decompress(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    fields = json.loads(content)
    change(fields)
    return _pack(json.dumps(fields).encode())


def test_a_token_with_a_field_of_a_later_version_is_read(token: JoinToken) -> None:
    later = _changed(token, lambda fields: fields.update(z="new"))
    assert JoinToken.parse(later) == token


def test_an_ipv6_address_is_accepted(token: JoinToken) -> None:
    text = _changed(token, lambda fields: fields.update(a="[::1]:7444"))
    assert JoinToken.parse(text).address == "[::1]:7444"
