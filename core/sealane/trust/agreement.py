"""Steps 14 to 18 of the verifier: for each slot, do both authorities mean the same release?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sealane import limits
from sealane.errors import InvalidName, TrustError
from sealane.names import AGENT_MODEL, AGENT_SLOT, PACKAGE_MANIFEST, PACKAGE_RELEASE
from sealane.trust.director import digest_of
from sealane.trust.documents import ApprovedRelease
from sealane.trust.requirements import unmet
from sealane.trust.steps import Step, refusing

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

    from tuf.api.metadata import TargetFile

    from sealane.fleet import DeviceFacts
    from sealane.names import Digest, SlotName
    from sealane.trust.documents import SlotAssignment
    from sealane.trust.repository import RepositoryView

ANY_SLOT: Final = "*"
"""In a release's list of slots: it may serve in any."""


class Agreement:
    """Judges the assigned slots, each by itself.

    `manifests` are known from an earlier judgement and need not be fetched again.
    """

    def __init__(
        self, view: RepositoryView, facts: DeviceFacts, manifests: Mapping[Digest, bytes]
    ) -> None:
        self._view = view
        self._facts = facts
        self._manifests = manifests

    def judge(
        self, slots: Iterable[SlotAssignment]
    ) -> tuple[tuple[ApprovedRelease, ...], Mapping[SlotName, TrustError]]:
        """The approved slots, and why each other one is refused.

        Back to what the machine's owner installed is in neither: there is nothing to approve.
        """
        approved: list[ApprovedRelease] = []
        refused: dict[SlotName, TrustError] = {}
        for wanted in slots:
            if is_package(wanted):
                continue
            try:
                approved.append(self._approve(wanted))
            except TrustError as error:
                refused[wanted.slot] = error
        return tuple(approved), refused

    def _approve(self, wanted: SlotAssignment) -> ApprovedRelease:
        listed = self._listed(wanted)
        _same_bytes(wanted, listed)
        custom = listed.custom if isinstance(listed.custom, dict) else {}
        _allowed_slot(wanted, custom)
        _met(wanted, custom, self._facts)
        return ApprovedRelease(wanted, self._manifest(wanted, listed))

    def _listed(self, wanted: SlotAssignment) -> TargetFile:
        """Step 14."""
        with refusing(Step.LISTED):
            listed = self._view.listed(wanted.release.target_path)
        if listed is None:
            raise TrustError(
                Step.LISTED,
                f"{wanted.release} is not a release that its family's keys list now",
                hint="it was revoked, or never approved: the release keys must sign it",
            )
        return listed

    def _manifest(self, wanted: SlotAssignment, listed: TargetFile) -> bytes:
        """Step 18."""
        known = self._manifests.get(wanted.manifest)
        if known is not None:
            return known
        if listed.length > limits.MANIFEST_BYTES:
            message = f"the manifest of {wanted.release} is larger than {limits.MANIFEST_BYTES}"
            raise TrustError(Step.MANIFEST, f"{message} bytes")
        with refusing(Step.MANIFEST):
            return self._view.fetch(listed)


def is_package(wanted: SlotAssignment) -> bool:
    """Whether the director wants the version of the agent that the machine's package brought."""
    named = (wanted.slot, wanted.release, wanted.manifest, wanted.length)
    return named == (AGENT_SLOT, PACKAGE_RELEASE, PACKAGE_MANIFEST, 0)


def _same_bytes(wanted: SlotAssignment, listed: TargetFile) -> None:
    """Step 15."""
    if (wanted.slot == AGENT_SLOT) != (wanted.release.model == AGENT_MODEL):
        message = f"{wanted.release} has no place in slot {wanted.slot}"
        raise TrustError(Step.SLOT, message, hint=f"{AGENT_SLOT} is for {AGENT_MODEL} alone")
    try:
        digest = digest_of(listed)
    except (KeyError, InvalidName) as error:
        message = f"{wanted.release} is listed without a SHA-256"
        raise TrustError(Step.DIGEST, message) from error
    if (digest, listed.length) != (wanted.manifest, wanted.length):
        message = f"the director and the release keys mean different bytes by {wanted.release}"
        raise TrustError(Step.DIGEST, message)


def _allowed_slot(wanted: SlotAssignment, custom: Mapping[str, Any]) -> None:
    """Step 16."""
    slots = custom.get("slots")
    allowed = slots if isinstance(slots, list) else []
    if ANY_SLOT not in allowed and wanted.slot not in allowed:
        message = f"{wanted.release} is not approved for slot {wanted.slot}"
        hint = f"it is approved for {', '.join(map(str, allowed)) or 'none'}"
        raise TrustError(Step.SLOT, message, hint=hint)


def _met(wanted: SlotAssignment, custom: Mapping[str, Any], facts: DeviceFacts) -> None:
    """Step 17."""
    requires = custom.get("requires", {})
    if not isinstance(requires, dict):
        message = f"what {wanted.release} requires is in no form that this agent knows"
        raise TrustError(Step.REQUIRES, message)
    complaint = unmet(requires, facts)
    if complaint is not None:
        raise TrustError(Step.REQUIRES, f"{wanted.release} {complaint}")
