"""Decides what a producer signs: which files a model is made of (OpenSSF model signing 1.0).

An in-toto statement whose predicate lists every file with its SHA-256. Here it must list exactly
the files of the bundle: what it asks a verifier to overlook is never overlooked.
"""

from __future__ import annotations

import re
from hashlib import sha256
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Final

from sealane.bundle.jsonform import dump, load
from sealane.bundle.paths import check_path
from sealane.errors import BundleError
from sealane.limits import BUNDLE_FILES, MIB
from sealane.names import Digest, hex_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sealane.bundle.jsonform import Fields
    from sealane.bundle.types import Layer

SIGNATURE_PATH: Final = "model.sig"
"""Where a bundle carries its producer's signature; it signs every other file."""

SIGNATURE_BYTES: Final = MIB
"""A signature: the names and digests of 512 files, in base64."""

STATEMENT: Final = "https://in-toto.io/Statement/v1"
PREDICATE: Final = "https://model_signing/signature/v1.0"

_WHAT: Final = "the statement in model.sig"
_HINT: Final = "sign the files of this very bundle: sealane bundle unpack shows them"
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_OVERLOOKED: Final = frozenset({SIGNATURE_PATH, ".git", ".gitattributes", ".github", ".gitignore"})
"""What signing tools leave out by themselves, and no bundle can hold as a file beside these."""

_MANY: Final = 64


def signed_files(layers: Iterable[Layer]) -> dict[str, Digest]:
    """The files of a bundle that its producer signs, by path."""
    return {layer.path: layer.digest for layer in layers if layer.path != SIGNATURE_PATH}


def encode_statement(model: str, files: Mapping[str, Digest]) -> bytes:
    """What is signed for these files; the same ones give the same bytes."""
    ordered = sorted(files, key=PurePosixPath)
    digests = [hex_of(files[path]) for path in ordered]
    resources = [
        {"name": path, "algorithm": "sha256", "digest": digest}
        for path, digest in zip(ordered, digests, strict=True)
    ]
    serialization = {
        "method": "files",
        "hash_type": "sha256",
        "allow_symlinks": False,
        "ignore_paths": [SIGNATURE_PATH],
    }
    return dump(
        {
            "_type": STATEMENT,
            "subject": [{"name": model, "digest": {"sha256": _root(digests)}}],
            "predicateType": PREDICATE,
            "predicate": {"serialization": serialization, "resources": resources},
        }
    )


def check_statement(content: bytes, files: Mapping[str, Digest]) -> None:
    """Raise BundleError unless the statement lists exactly these files, and nothing is hidden."""
    found = load(content, SIGNATURE_BYTES, _WHAT)
    if found.text("_type") != STATEMENT or found.text("predicateType") != PREDICATE:
        raise BundleError(f"{_WHAT} is not one of model signing 1.0", hint=_HINT)
    predicate = found.fields("predicate")
    _check_serialization(predicate.fields("serialization"))
    resources = [*predicate.objects("resources", BUNDLE_FILES)]
    listed = _listed(resources)
    _check_subject(found, _root(list(listed.values())))
    wanted = {path: hex_of(digest) for path, digest in files.items()}
    for what, paths in (
        ("does not list", wanted.keys() - listed.keys()),
        ("lists files that are not in the bundle:", listed.keys() - wanted.keys()),
        ("was made for other bytes of", {p for p in wanted if listed.get(p) != wanted[p]}),
    ):
        if paths:
            raise BundleError(f"{_WHAT} {what} {min(paths)}", hint=_HINT)


def _listed(resources: list[Fields]) -> dict[str, str]:
    """Digests by path, in the order of the list."""
    listed: dict[str, str] = {}
    for resource in resources:
        path, digest = check_path(resource.text("name")), resource.text("digest")
        if resource.text("algorithm") != "sha256" or not _DIGEST.fullmatch(digest):
            raise BundleError(f"{_WHAT} gives no SHA-256 of {path}", hint="sign with sha256")
        if path in listed:
            raise BundleError(f"{_WHAT} lists {path} twice", hint=_HINT)
        listed[path] = digest
    return listed


def _check_serialization(found: Fields) -> None:
    if (found.text("method"), found.text("hash_type")) != ("files", "sha256"):
        raise BundleError(f"{_WHAT} is not about whole files by SHA-256", hint="sign with sha256")
    if found.raw.get("allow_symlinks") is not False:
        raise BundleError(f"{_WHAT} lets files be links elsewhere", hint="sign without links")
    if "ignore_paths" not in found.raw:
        return
    for path in found.texts("ignore_paths", _MANY):
        if path not in _OVERLOOKED:
            raise BundleError(
                f"{_WHAT} asks to overlook {path[:80]!r}",
                hint="sign without ignored paths, into a file called model.sig",
            )


def _check_subject(found: Fields, root: str) -> None:
    subjects = [*found.objects("subject", _MANY)]
    if len(subjects) != 1 or subjects[0].fields("digest").text("sha256") != root:
        raise BundleError(f"{_WHAT} is not about the files that it lists", hint=_HINT)


def _root(digests: list[str]) -> str:
    """One digest of all: of their raw bytes, one after the other."""
    return sha256(b"".join(map(bytes.fromhex, digests))).hexdigest()
