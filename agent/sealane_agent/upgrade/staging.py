"""Fetches and stages a version of the agent: verified, unpacked beside, and started once."""

from __future__ import annotations

import asyncio
import os
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sealane.bundle.agent import AGENT_CONTRACT_BYTES, parse_contract, tree_of
from sealane.bundle.manifest import AGENT_CONTRACT_PATH, layer_at, parse_manifest
from sealane.bundle.types import ProbationLimits
from sealane.errors import BundleError
from sealane.failure import Failure, FailureKind

from sealane_agent.errors import Failed
from sealane_agent.layout import Pointer
from sealane_agent.packages import agent_version
from sealane_agent.serving.messages import Load
from sealane_agent.serving.types import LoadFailed
from sealane_agent.slot.selection import LOAD_DEADLINE_S
from sealane_agent.slot.staging import malformed
from sealane_agent.slot.state import Choice
from sealane_agent.upgrade.fitness import Here, unfit
from sealane_agent.upgrade.starts import PACKAGE
from sealane_agent.uplink.fetch import fetch_all

if TYPE_CHECKING:
    from sealane.bundle.agent import AgentContract
    from sealane.bundle.types import Manifest
    from sealane.fleet import DeviceFacts

    from sealane_agent.endpoint.seam import Endpoint
    from sealane_agent.slot.qualifications import Qualifications
    from sealane_agent.slot.state import Attempt
    from sealane_agent.store import Store
    from sealane_agent.upgrade.fitness import Rules
    from sealane_agent.upgrade.folder import UpgradeFolder
    from sealane_agent.uplink.fetch import BlobSource, Policy

VARIANT: Final = "agent"
DEADLINE_SHARE: Final = 2
"""A version is kept before half of the time is over that it has to prove itself."""

PACKAGE_PROBATION_S: Final = 60.0
"""How long what the package brought must be well; a release says it of itself."""


@dataclass(frozen=True, slots=True)
class AgentStaging:
    """Brings versions of the agent in, and looks whether they start here."""

    store: Store
    source: BlobSource
    endpoint: Endpoint
    facts: DeviceFacts
    folder: UpgradeFolder
    rules: Rules

    @property
    def qualifications(self) -> Qualifications | None:
        """None: a version has one variant, and nothing is measured."""
        return None

    def fetch(self, attempt: Attempt, policy: Policy) -> ProbationLimits:
        """Bring contract and archive into the store; blocks. Raises Failed or Stopped.

        What cannot run here is refused before its archive is fetched. What the package brought is
        here.
        """
        if attempt.manifest == PACKAGE.manifest:
            return self._back_to_package(attempt)
        manifest = self._manifest(attempt)
        try:
            contract, tree = layer_at(manifest, AGENT_CONTRACT_PATH), tree_of(manifest)
        except BundleError as error:
            raise Failed(malformed(attempt, error)) from error
        if contract.size > AGENT_CONTRACT_BYTES:
            raise Failed(malformed(attempt, BundleError(f"{contract.path} is too large")))
        self.store.require_space((contract,))
        fetch_all(self.store, self.source, (contract,), policy)
        said = self._contract(attempt, manifest)
        self._judge(attempt, said)
        self.store.require_space((tree,))
        fetch_all(self.store, self.source, (tree,), policy)
        return self._watched(said.probation_s)

    async def prove(self, attempt: Attempt, *, interrupts: bool = False) -> Choice:  # noqa: ARG002 - as in the protocol
        """Unpack the version and start it once; raises Failed, WrongBytes or ConnectionError."""
        if attempt.manifest == PACKAGE.manifest:
            proved = await self.endpoint.load(Load(attempt.slot, PACKAGE, LOAD_DEADLINE_S))
            return Choice(PACKAGE.variant, "sealane-agent", "cpu", _here().arch, proved)
        said = await asyncio.to_thread(self._ready, attempt)
        pointer = Pointer(attempt.release, attempt.manifest, VARIANT)
        try:
            proved = await self.endpoint.load(Load(attempt.slot, pointer, LOAD_DEADLINE_S))
        except LoadFailed as error:
            raise Failed(error.failure) from error
        if proved.runtime_version != said.version:
            message = f"it says that it is {proved.runtime_version}, its contract {said.version}"
            raise Failed(_failure(attempt, FailureKind.PERMANENT, "contract", message))
        return Choice(VARIANT, "sealane-agent", "cpu", said.arch, proved)

    def _watched(self, probation_s: float) -> ProbationLimits:
        watched = min(probation_s, self.rules.deadline_s / DEADLINE_SHARE)
        return ProbationLimits(seconds=watched, deadline_seconds=self.rules.deadline_s)

    def _back_to_package(self, attempt: Attempt) -> ProbationLimits:
        """It may come back to where it was left, as a release may; raises Failed."""
        before = self.folder.pointers().previous
        if before in (None, PACKAGE) or self.rules.downgrade:
            return self._watched(PACKAGE_PROBATION_S)
        assert before is not None  # noqa: S101 - asked above
        message = f"{before.release} ran before this version, not what the package brought"
        hint = "roll that one out, or set upgrade.downgrade on this device"
        where = (str(attempt.state), "supervisor", str(attempt.release))
        raise Failed(Failure(FailureKind.ENVIRONMENTAL, *where, message, hint))

    def _ready(self, attempt: Attempt) -> AgentContract:
        manifest = self._manifest(attempt)
        said = self._contract(attempt, manifest)
        layers = (layer_at(manifest, AGENT_CONTRACT_PATH), tree_of(manifest))
        self.store.check(layers)
        self.store.require_bytes(said.unpacked_bytes)
        return said

    def _manifest(self, attempt: Attempt) -> Manifest:
        try:
            return parse_manifest(self.store.path(attempt.manifest).read_bytes())
        except BundleError as error:
            raise Failed(malformed(attempt, error)) from error

    def _contract(self, attempt: Attempt, manifest: Manifest) -> AgentContract:
        try:
            layer = layer_at(manifest, AGENT_CONTRACT_PATH)
            return parse_contract(self.store.path(layer.digest).read_bytes())
        except BundleError as error:
            raise Failed(malformed(attempt, error)) from error

    def _judge(self, attempt: Attempt, said: AgentContract) -> None:
        previous = self.folder.pointers().previous
        known = previous is not None and previous.manifest == attempt.manifest
        complaint = unfit(said, _here(), downgrade=self.rules.downgrade or known)
        if complaint:
            raise Failed(_failure(attempt, FailureKind.PERMANENT, "contract", complaint))


def _here() -> Here:
    system = os.uname()
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    return Here(system.machine, system.sysname.lower(), python, agent_version())


def _failure(attempt: Attempt, kind: FailureKind, component: str, message: str) -> Failure:
    hint = "release a version that fits, or leave this device out of the rollout"
    return Failure(kind, str(attempt.state), component, str(attempt.release), message, hint)
