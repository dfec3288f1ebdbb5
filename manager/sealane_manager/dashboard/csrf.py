"""Decides whether a form came from a page of ours: a token bound to the session, masked anew.

The mask keeps the token from being the same bytes twice, so that a compressed page does not tell
it (BREACH).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from typing import Final

PAD_BYTES: Final = 32
TOKEN_CHARS: Final = 128
"""Longest token that is looked at; ours have 88 characters."""

_PURPOSE: Final = b"sealane dashboard form"


def make_token(secret: str, pad: bytes) -> str:
    """The token for a form of the session with this secret; `pad` is random, PAD_BYTES long."""
    return base64.urlsafe_b64encode(pad + _masked(_proof(secret), pad)).decode()


def is_token(secret: str, text: str) -> bool:
    """Whether the token belongs to the session with this secret."""
    if not secret or len(text) > TOKEN_CHARS:
        return False
    try:
        content = base64.b64decode(text.encode(), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return False
    if len(content) != 2 * PAD_BYTES:
        return False
    pad, masked = content[:PAD_BYTES], content[PAD_BYTES:]
    return hmac.compare_digest(_masked(masked, pad), _proof(secret))


def _proof(secret: str) -> bytes:
    return hmac.new(secret.encode(), _PURPOSE, hashlib.sha256).digest()


def _masked(content: bytes, pad: bytes) -> bytes:
    return bytes(left ^ right for left, right in zip(content, pad, strict=True))
