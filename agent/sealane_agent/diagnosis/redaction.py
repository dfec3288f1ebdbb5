"""Decides what of a text may leave the device: secrets that got into it are struck out. Pure."""

from __future__ import annotations

import re
from typing import Final

STRUCK: Final = "[struck out]"

_SECRETS: Final = (
    re.compile(
        r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)",
        re.DOTALL,
    ),
    re.compile(r"slj1_[A-Za-z0-9_=-]+"),  # a join token
    re.compile(r"(?<=pin-value=)[^&;\s\"']+"),
    re.compile(r"(?i)(?<=bearer )[A-Za-z0-9._~+/=-]{8,}"),
    re.compile(r"(?i)(?<=://)[^/\s:@\"']+:[^/\s@\"']+(?=@)"),  # user and password of an address
    re.compile(
        r"(?i)(?<![a-z])(?:password|passwd|secret|api[_-]?key|token)[\"']?\s*[=:]\s*[\"']?"
        r"(?!\[struck)[^\s\"',}]{4,}"
    ),
)


def redacted(text: str) -> str:
    """The text without private keys, tokens, PINs, passwords."""
    for secret in _SECRETS:
        text = secret.sub(STRUCK, text)
    return text
