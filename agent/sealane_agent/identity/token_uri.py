"""Reads the PKCS #11 URI (RFC 7512) of a token or of a key in it. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final
from urllib.parse import quote, unquote

from sealane.errors import SealaneError

SCHEME: Final = "pkcs11:"
URI_CHARS: Final = 2048
_FILE: Final = "file:"
_FORM: Final = (
    "pkcs11:token=NAME?module-path=/path/of/the/module.so&pin-source=file:/path/of/the/pin"
)


@dataclass(frozen=True, slots=True)
class TokenUri:
    """A token, and a key in it unless `label` is empty.

    Attributes:
        module: path of the PKCS #11 library.
        pin_file: path of a file that holds the user's PIN.
    """

    token: str
    label: str
    module: str
    pin_file: str

    def named(self, label: str) -> TokenUri:
        """A key of that token."""
        return replace(self, label=label)

    def encode(self) -> bytes:
        """As `parse_token` reads it, one line."""
        key = f";object={quote(self.label, safe='')}" if self.label else ""
        module = f"module-path={quote(self.module, safe='/')}"
        pin = f"pin-source={_FILE}{quote(self.pin_file, safe='/')}"
        return f"{SCHEME}token={quote(self.token, safe='')}{key}?{module}&{pin}\n".encode("ascii")


def parse_token(text: str) -> TokenUri:
    """Read a URI; raises SealaneError when something that is needed is missing or not known."""
    path, _, query = text.removeprefix(SCHEME).partition("?")
    if len(text) > URI_CHARS or not text.startswith(SCHEME):
        raise _unreadable("it does not begin with pkcs11:")
    fields = _fields(path, ";") | _fields(query, "&")
    if unknown := fields.keys() - {"token", "object", "module-path", "pin-source"}:
        raise _unreadable(f"{min(unknown)!r} is not known")
    pin = fields.get("pin-source", "")
    if not (fields.get("token") and fields.get("module-path") and pin.startswith(_FILE)):
        raise _unreadable("it needs a token, a module-path and a pin-source of file:")
    label = fields.get("object", "")
    return TokenUri(fields["token"], label, fields["module-path"], pin.removeprefix(_FILE))


def _fields(text: str, separator: str) -> dict[str, str]:
    pairs = (part.partition("=") for part in text.split(separator) if part)
    return {name: unquote(value) for name, _, value in pairs}


def _unreadable(why: str) -> SealaneError:
    return SealaneError(f"the key store cannot be read: {why}", hint=f"write {_FORM}")
