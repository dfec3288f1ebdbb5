"""The PKCS #11 URI in a key's file: what is written is read, and nothing else is guessed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sealane.errors import SealaneError
from sealane_agent.identity.token_uri import TokenUri, parse_token

_NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), min_size=1, max_size=40)


@given(_NAMES, st.one_of(st.just(""), _NAMES), _NAMES, _NAMES)
def test_a_uri_that_was_written_is_read_as_it_was(
    token: str, label: str, module: str, pin: str
) -> None:
    uri = TokenUri(token, label, f"/{module}", f"/{pin}")
    assert parse_token(uri.encode().decode("ascii").strip()) == uri


@given(st.text(max_size=200))
def test_any_text_at_all_is_read_or_refused_in_one_sentence(text: str) -> None:
    for given_text in (text, f"pkcs11:{text}", f"pkcs11:token=a?module-path=/b&{text}"):
        assert _complaint(given_text) in {"", "the key store cannot be read"}


def _complaint(text: str) -> str:
    try:
        parse_token(text)
    except SealaneError as error:
        return str(error).partition(":")[0] if error.hint else "no hint"
    return ""


@pytest.mark.parametrize("text", ["", "pkcs11:", "x" * 3000, "pkcs11:" + "a" * 3000])
def test_nothing_and_too_much_are_refused(text: str) -> None:
    with pytest.raises(SealaneError, match="the key store cannot be read"):
        parse_token(text)
