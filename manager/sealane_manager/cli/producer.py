"""`sealane bundle sign` and `unpack`: a producer's signature, and the files that it signs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from sealane.bundle.check import read_signature
from sealane.bundle.layout import read_small
from sealane.bundle.signature import (
    KEY_BYTES,
    open_envelope,
    producer_of,
    read_signing_key,
)
from sealane.bundle.statement import SIGNATURE_BYTES
from sealane.errors import BundleError

from sealane_manager.bundle import signing
from sealane_manager.cli.output import Format, OutputOption, emit_one, reported
from sealane_manager.errors import Refused

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from sealane.bundle.types import Manifest

PassphraseOption = Annotated[
    Path | None,
    typer.Option(
        envvar="SEALANE_PASSPHRASE_FILE", help="file whose first line opens the private key"
    ),
]
_Folder = Annotated[Path, typer.Argument(help="folder of the bundle (an OCI image layout)")]
_Out = Annotated[Path, typer.Option(help="new folder")]


def sign(
    folder: _Folder,
    out: _Out,
    key: Annotated[
        Path | None, typer.Option(help="the producer's private key (PEM; P-256, P-384 or P-521)")
    ] = None,
    attach: Annotated[
        Path | None, typer.Option(help="a signature that another tool made for the unpacked files")
    ] = None,
    passphrase_file: PassphraseOption = None,
    output: OutputOption = Format.TABLE,
) -> None:
    """Write a bundle once more with its producer's signature (OpenSSF model signing)."""
    with reported():
        if (key is None) == (attach is None):
            raise Refused("a bundle is signed in one way", hint="give --key or --attach")
        if key:
            manifest = signing.sign_bundle(folder, signing_key(key, passphrase_file), out)
        elif attach:
            signature = read_small(attach, SIGNATURE_BYTES)
            manifest = signing.attach_signature(folder, signature, out)
        emit_one({"folder": str(out), "digest": manifest.digest}, output)


def unpack(folder: _Folder, out: _Out, output: OutputOption = Format.TABLE) -> None:
    """Write the files of a bundle under their own names, as a device lays them out."""
    with reported():
        manifest = signing.unpack(folder, out)
        emit_one({"folder": str(out), "files": len(manifest.layers)}, output)


def signing_key(path: Path, passphrase_file: Path | None) -> EllipticCurvePrivateKey:
    """The private key in a file; raises BundleError or OSError."""
    passphrase: bytes | None = None
    if passphrase_file:
        with passphrase_file.open("rb") as file:
            passphrase = file.readline(KEY_BYTES).rstrip(b"\r\n")
    with path.open("rb") as file:
        return read_signing_key(path.name, file.read(KEY_BYTES), passphrase)


def judged(folder: Path, manifest: Manifest, keys: Sequence[Path]) -> str:
    """What is known of who signed a bundle; raises Refused when it was none of these keys."""
    signature = read_signature(folder, manifest)
    if not keys:
        return _claimed(signature)
    known = [signing.read_producer(path) for path in keys]
    if signature is None:
        raise Refused(
            f"{folder} is not signed by its producer",
            hint="sign it with: sealane bundle sign, or do not ask for a producer",
        )
    try:
        found = producer_of(manifest, signature, known)
    except BundleError as error:
        raise Refused(str(error), hint=error.hint) from error
    return f"{found.name}, key {found.hint}"


def _claimed(signature: bytes | None) -> str:
    if signature is None:
        return "not signed"
    envelope = open_envelope(signature)
    says = f"key {envelope.hint}" if envelope.hint else "a certificate or a key that it hides"
    return f"says {says}; not checked without --producer-key"
