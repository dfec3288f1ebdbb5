"""A key that is held elsewhere: what a token's key is to those who only sign with it."""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey


class HeldKey(EllipticCurvePrivateKey):
    """A key that signs and cannot be read."""
