"""The authorities of the fleet's certificates, as a target: whom devices believe on the wire.

The top-level targets role lists `fleet/ca.pem`: one or more certificates. So whoever holds the
targets keys replaces an authority, even one that was stolen, on every device that is reached. Pure.
"""

from __future__ import annotations

from typing import Final

from cryptography import x509

from sealane.errors import TrustError

PATH: Final = "fleet/ca.pem"
BYTES: Final = 64 * 1024
"""A dozen certificates."""

_STEP: Final = "authorities"


def parse_authorities(content: bytes) -> tuple[x509.Certificate, ...]:
    """Read the certificates; raises TrustError unless there are some, all of authorities."""
    try:
        found = tuple(x509.load_pem_x509_certificates(content[: BYTES + 1]))
    except ValueError as error:
        raise TrustError(_STEP, "the fleet's authorities cannot be read") from error
    if len(content) > BYTES or not found or not all(map(_is_authority, found)):
        raise TrustError(_STEP, "the fleet's authorities are not certificates of authorities")
    return found


def _is_authority(certificate: x509.Certificate) -> bool:
    try:
        found = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
    except (x509.ExtensionNotFound, ValueError):
        return False
    return found.value.ca
