"""Keys that people hold: encrypted files, hardware tokens, key services; by securesystemslib.

A holder has a public key file, `<holder>.pub.json`, for those who propose changes. The private key
is `<holder>.pem`, encrypted with a passphrase, or stays in a token or a service: then the public
file names it by a URI, and is itself what `--key` takes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import ParseResult, parse_qsl, urlparse

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)
from sealane import fileio
from sealane.errors import SealaneError
from sealane.names import parse_operator
from securesystemslib.exceptions import UnsupportedLibraryError
from securesystemslib.signer import (
    AWSSigner,
    AzureSigner,
    CryptoSigner,
    GCPSigner,
    HSMSigner,
    Signer,
    SSlibKey,
    VaultSigner,
)
from tuf.api.metadata import Key

from sealane_manager.errors import Refused
from sealane_manager.trust.public_keys import X_HOLDER, holder_of, is_genuine

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

Secret = Callable[[str], str]
"""Asks for a secret: `passphrase`, or what a token or a service calls its own."""

PASSPHRASE_CHARS: Final = 8
PASSPHRASE_MOST: Final = 1000
"""Bytes; libraries take no more than 1,023."""

PUBLIC_SUFFIX: Final = ".pub.json"
X_URI: Final = "x-uri"
"""Field of a public key file that says where the private key is."""


def new_key_file(path: Path, holder: str, passphrase: str) -> Key:
    """Make a new Ed25519 key, encrypted; raises Refused when the file exists."""
    parse_operator(holder)
    if path.exists():
        raise Refused(f"{path} exists", hint="a key is never overwritten: choose another name")
    if not PASSPHRASE_CHARS <= len(passphrase.encode()) <= PASSPHRASE_MOST:
        raise Refused(
            f"a passphrase has {PASSPHRASE_CHARS} to {PASSPHRASE_MOST} characters",
            hint="a few words that nobody else would put together",
        )
    private = Ed25519PrivateKey.generate()
    encryption = BestAvailableEncryption(passphrase.encode())
    content = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)
    fileio.make_folder(path.parent)
    fileio.replace(path, content)
    return held_by(SSlibKey.from_crypto(private.public_key()), holder)


def import_key(uri: str, holder: str, secret: Secret) -> tuple[str, Key]:
    """The public key of a token or a service, and the URI to sign with; raises SealaneError."""
    parse_operator(holder)
    importing = _IMPORTS.get(_scheme(uri))
    if importing is None:
        known = ", ".join(f"{scheme}:" for scheme in _IMPORTS)
        raise Refused(f"{uri[:80]!r} is no key that can be imported", hint=f"known are {known}")
    with _explained(uri):
        found, key = importing(urlparse(uri), secret)
    return found, held_by(key, holder)


def held_by(key: Key, holder: str) -> Key:
    """The key with its holder's name."""
    key.unrecognized_fields[X_HOLDER] = holder
    return key


def write_public(path: Path, key: Key, uri: str = "") -> None:
    """Write a public key file; raises Refused where another key's lies."""
    if path.exists() and _read_public(path)[0].keyid != key.keyid:
        raise Refused(f"{path} is another key's", hint="choose another name or another folder")
    fields = {"keyid": key.keyid, **key.to_dict()} | ({X_URI: uri} if uri else {})
    fileio.replace(path, json.dumps(fields, indent=1, sort_keys=True).encode() + b"\n", 0o644)


def read_public(path: Path) -> Key:
    """Read a public key file; raises SealaneError when it is none."""
    return _read_public(path)[0]


def open_signer(path: Path, secret: Secret) -> Signer:
    """The signer of a key file, or of the token or service that a public file names."""
    if path.name.endswith(PUBLIC_SUFFIX):
        key, uri = _read_public(path)
        if not uri:
            raise SealaneError(
                f"{path} names no private key: a token's or a service's does",
                hint="name the private key file, which ends in .pem",
            )
        with _explained(uri):
            return Signer.from_priv_key_uri(uri, key, secret)
    return _open_file(path, secret)


def _open_file(path: Path, secret: Secret) -> CryptoSigner:
    content = path.read_bytes()
    try:
        try:
            return CryptoSigner(load_pem_private_key(content, None))
        except TypeError:  # it is encrypted
            passphrase = secret("passphrase").encode()
            return CryptoSigner(load_pem_private_key(content, passphrase))
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise SealaneError(
            f"{path} is no private key, or the passphrase is wrong",
            hint="try again; with SEALANE_PASSPHRASE_FILE the passphrase is the file's first line",
        ) from error


def _read_public(path: Path) -> tuple[Key, str]:
    try:
        fields: dict[str, Any] = json.loads(path.read_bytes())
        uri = str(fields.pop(X_URI, ""))
        key = Key.from_dict(str(fields.pop("keyid")), fields)
        if not is_genuine(key.keyid, key):
            raise ValueError("its id is not that of its key")  # noqa: TRY301 - one refusal for all
        if not holder_of(key):
            raise ValueError("it does not say whose it is")  # noqa: TRY301 - the same
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise SealaneError(
            f"{path} is not a public key file ({error})",
            hint="its holder makes one with: sealane trust new-key",
        ) from error
    if uri and _scheme(uri) not in _IMPORTS:
        raise SealaneError(f"{path} names its private key as {uri[:80]!r}, which is no known place")
    return key, uri


def _scheme(uri: str) -> str:
    return uri.partition(":")[0]


@contextmanager
def _explained(uri: str) -> Iterator[None]:
    """Turn what tokens, services and missing libraries say into one line."""
    try:
        yield
    except UnsupportedLibraryError as error:
        scheme = _scheme(uri)
        library = _LIBRARIES.get(scheme, f"the library for {scheme}:")
        raise SealaneError(
            f"{uri[:80]} cannot be used: {error}",
            hint=f"pip install {library}, beside sealane-manager",
        ) from error
    except Exception as error:  # each maker's library raises what it wants
        raise SealaneError(f"{uri[:80]} cannot be used: {said(error)}", hint=_ADVICE) from error


def said(error: BaseException) -> str:
    """What an error says; of one that says nothing, its kind."""
    return str(error) or type(error).__name__


def _hsm(parts: ParseResult, secret: Secret) -> tuple[str, SSlibKey]:
    number = int(parts.path) if parts.path else HSMSigner.SCHEME_KEYID
    label = dict(parse_qsl(parts.query)).get("label")
    return HSMSigner.import_(number, label, secret)


def _azure(parts: ParseResult, _secret: Secret) -> tuple[str, SSlibKey]:
    vault, _, name = parts.path.lstrip("/").partition("/")
    return AzureSigner.import_(vault, name)


_IMPORTS: Final[Mapping[str, Callable[[ParseResult, Secret], tuple[str, SSlibKey]]]] = {
    HSMSigner.SCHEME: _hsm,
    AWSSigner.SCHEME: lambda parts, _: AWSSigner.import_(parts.path),
    GCPSigner.SCHEME: lambda parts, _: GCPSigner.import_(parts.path),
    AzureSigner.SCHEME: _azure,
    VaultSigner.SCHEME: lambda parts, _: VaultSigner.import_(parts.path),
}
"""How each kind of place tells its public key; a public file names no other, and no path."""

_LIBRARIES: Final = {
    HSMSigner.SCHEME: "'sealane-manager[hsm]'",
    AWSSigner.SCHEME: "'securesystemslib[awskms]'",
    GCPSigner.SCHEME: "'securesystemslib[gcpkms]'",
    AzureSigner.SCHEME: "'securesystemslib[azurekms]'",
    VaultSigner.SCHEME: "'securesystemslib[vault]'",
}

_ADVICE: Final = (
    "is the token plugged in, does PYKCS11LIB name its library, are you logged in to the service?"
)
