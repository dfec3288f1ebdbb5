"""The exceptions of the agent, as a tree under SealaneError.

SealaneError
└── AgentError
    ├── NotEnrolled       the state folder has no identity
    ├── AlreadyEnrolled   the state folder has one already
    ├── AlreadyRunning    another agent holds the state folder
    ├── JournalDamaged    the journal cannot be read
    ├── SpoolDamaged      the telemetry spool cannot be read
    ├── DiskTrouble       the disk does not give or take what it should
    ├── Refused           the manager or a policy does not allow it
    ├── Unreachable       the manager does not answer
    └── Failed            a step of an attempt failed; carries the typed failure
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sealane.errors import SealaneError

if TYPE_CHECKING:
    from sealane.failure import Failure


ENROL_ANEW: Final = "enrol again with a new token and another name: what serves stays"
"""What a device does whose identity is lost; its models lie elsewhere in the state folder."""


class AgentError(SealaneError):
    """Anything that an agent refuses or cannot do."""


class NotEnrolled(AgentError):  # noqa: N818 - the word says what is wrong
    """The state folder has no identity."""


class AlreadyEnrolled(AgentError):  # noqa: N818 - the word says what is wrong
    """The state folder has an identity already."""


class AlreadyRunning(AgentError):  # noqa: N818 - the word says what is wrong
    """Another agent holds the state folder."""


class JournalDamaged(AgentError):  # noqa: N818 - the word says what is wrong
    """The journal cannot be read."""


class DiskTrouble(AgentError):  # noqa: N818 - the word says what is wrong
    """The disk does not give or take what it should; nothing on it is lost."""


class SpoolDamaged(AgentError):  # noqa: N818 - the word says what is wrong
    """The telemetry spool cannot be read."""


class Refused(AgentError):  # noqa: N818 - the word says what happened
    """The manager or a policy does not allow it."""


class Unreachable(AgentError):  # noqa: N818 - the word says what happened
    """The manager does not answer."""


class Failed(AgentError):  # noqa: N818 - the word says what happened
    """A step of an attempt failed.

    Attributes:
        failure: what happened, for the journal and the manager.
    """

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message, hint=failure.hint)
        self.failure = failure
