"""Decides whether a version of the agent may come to this device. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sealane.bundle.agent import order_of
from sealane.failure import Failure, FailureKind

if TYPE_CHECKING:
    from sealane.bundle.agent import AgentContract


@dataclass(frozen=True, slots=True)
class Rules:
    """What the operator allows.

    Attributes:
        downgrade: a version older than the one that runs may come.
        deadline_s: how long a version has to prove itself.
    """

    downgrade: bool = False
    deadline_s: int = 300


@dataclass(frozen=True, slots=True)
class Here:
    """What this machine and the agent on it are."""

    arch: str
    os: str
    python: str
    version: str


def unfit(said: AgentContract, here: Here, *, downgrade: bool) -> str:
    """Why a version cannot come here, as a sentence; empty when it can."""
    for what, wanted, found in (
        ("architecture", said.arch, here.arch),
        ("system", said.os, here.os),
        ("python", said.python, here.python),
    ):
        if wanted != found:
            return f"it is for {what} {wanted}, this device has {found}"
    if not downgrade and order_of(said.version) < order_of(here.version):
        return (
            f"version {said.version} is older than {here.version}, which runs here, and "
            "upgrade.downgrade is not set"
        )
    return ""


def left_to_the_package() -> Failure:
    """Why a rollout brings no version to a device whose package manager does."""
    return Failure(
        FailureKind.ENVIRONMENTAL,
        phase="accepted",
        component="supervisor",
        element="upgrade.by",
        message="versions of the agent come with its package on this device",
        hint='set upgrade.by = "rollout" in its configuration, or leave it out of the rollout',
    )
