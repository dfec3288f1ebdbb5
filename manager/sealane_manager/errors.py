"""The exceptions of the manager, as a tree under SealaneError.

SealaneError
├── Refused        a policy or a state does not allow it; trying again will not help
│   └── NotAllowed the caller is not who may ask this
├── WrongFile      a file that somebody wrote cannot be read; says in which line and column
├── NotKnown       no such device, release, rollout or token
├── NoSpace        the manager's disk is full
├── RegistryError  an OCI registry answers otherwise than its protocol says
└── Unreachable    the manager, or another server, does not answer
"""

from __future__ import annotations

from sealane.errors import SealaneError


class Refused(SealaneError):  # noqa: N818 - the word says what happened
    """A policy or a state does not allow it."""


class NotAllowed(Refused):
    """The caller is not who may ask this."""


class WrongFile(SealaneError):  # noqa: N818 - the word says what is wrong
    """A file that somebody wrote cannot be read; says in which line and column."""


class NotKnown(SealaneError):  # noqa: N818 - the word says what happened
    """No such device, release, rollout or token."""


class NoSpace(SealaneError):  # noqa: N818 - the word says what happened
    """The manager's disk is full."""


class RegistryError(SealaneError):
    """An OCI registry answers otherwise than its protocol says."""


class Unreachable(SealaneError):  # noqa: N818 - the word says what happened
    """The manager, or another server, does not answer."""
