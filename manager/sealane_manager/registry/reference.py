"""Decides what a reference names: `host[:port]/repository` with a tag, a digest or both.

The grammar is that of the OCI distribution specification 1.1. The host is never left out: a bundle
goes to no registry that nobody named.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sealane.errors import InvalidName
from sealane.names import parse_digest

if TYPE_CHECKING:
    from sealane.names import Digest

REFERENCE_CHARS: Final = 512
"""A reference as it is typed: a host, a repository of 255 characters, a tag and a digest."""

_REPOSITORY_CHARS: Final = 255
_LABEL: Final = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_HOST: Final = re.compile(
    rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[0-9A-Fa-f:.]{{2,45}}\])(?::[0-9]{{1,5}})?"
)
_WORD: Final = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REPOSITORY: Final = re.compile(rf"{_WORD}(?:/{_WORD})*")
_TAG: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_PORTS: Final = 65536
_HINT: Final = "write registry.example:5000/family/model:7, or …/model@sha256:… to name the bytes"


@dataclass(frozen=True, slots=True)
class Reference:
    """A bundle in a registry.

    Attributes:
        host: with its port, where one is given.
        tag: empty when only the digest is given.
        digest: what the manifest must hash to; None when any bytes under the tag are meant.
    """

    host: str
    repository: str
    tag: str = ""
    digest: Digest | None = None

    @property
    def named(self) -> str:
        """What the registry is asked for: the digest where there is one."""
        return self.digest or self.tag

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        digest = f"@{self.digest}" if self.digest else ""
        return f"{self.host}/{self.repository}{tag}{digest}"

    @classmethod
    def parse(cls, text: str) -> Reference:
        """Read a reference, or raise InvalidName."""
        if len(text) > REFERENCE_CHARS or "://" in text:
            raise _invalid(text, "is not a reference to a registry")
        rest, at, digest = text.partition("@")
        host, slash, path = rest.partition("/")
        if not slash or not _is_host(host):
            raise _invalid(text, "does not begin with the host of a registry")
        repository, colon, tag = path.partition(":")
        check_repository(repository)
        if colon and not _TAG.fullmatch(tag):
            raise _invalid(text, "has no right tag")
        if not (colon or at):
            raise _invalid(text, "has neither a tag nor a digest")
        return cls(host, repository, tag, parse_digest(digest) if at else None)


def check_repository(text: str) -> str:
    """Return the name of a repository, or raise InvalidName."""
    if len(text) > _REPOSITORY_CHARS or not _REPOSITORY.fullmatch(text):
        raise _invalid(text, "is not the name of a repository")
    return text


def _is_host(host: str) -> bool:
    """As other tools have it: what has no dot and no port is a host only as `localhost`."""
    if not _HOST.fullmatch(host):
        return False
    port = host.rpartition(":")[2] if not host.endswith("]") and ":" in host else "1"
    named = "." in host or ":" in host or host == "localhost"
    return named and 0 < int(port) < _PORTS


def _invalid(text: str, why: str) -> InvalidName:
    return InvalidName(f"{text[:80]!r} {why}", hint=_HINT)
