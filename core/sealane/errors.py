"""The exceptions of core, as a tree.

SealaneError
├── InvalidName      a name, digest, label or selector is not in its grammar
├── BundleError      a bundle is malformed, incomplete or not what its digest says
├── TrustError       the verifier refused something; says at which numbered step
├── TokenError       a join token cannot be read
├── ReceiptError     a receipt is malformed or not signed by its device
├── TelemetryError   windows of telemetry are damaged, malformed or beyond a limit
└── KitError         a kit is damaged, malformed, or holds nothing for this device

Every message is one sentence for the person who reads it; `hint` says what to do next.
"""

from __future__ import annotations


class SealaneError(Exception):
    """Anything that Sealane refuses or cannot do, with a hint for the person who reads it."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class InvalidName(SealaneError):  # noqa: N818 - the word says what is wrong
    """A name, digest, label or selector is not in its grammar."""


class BundleError(SealaneError):
    """A bundle is malformed, incomplete or not what its digest says."""


class TrustError(SealaneError):
    """The verifier refused something.

    Attributes:
        step: number and name of the verification step, as listed in `sealane.trust.verifier`.
    """

    def __init__(self, step: str, message: str, *, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.step = step


class TokenError(SealaneError):
    """A join token cannot be read."""


class ReceiptError(SealaneError):
    """A receipt is malformed or not signed by its device."""


class TelemetryError(SealaneError):
    """Windows of telemetry are damaged, malformed or beyond a limit."""


class KitError(SealaneError):
    """A kit is damaged, malformed, or holds nothing for this device."""


class SampleError(SealaneError):
    """A sample of inputs is damaged, malformed, too large, or not for this key."""
