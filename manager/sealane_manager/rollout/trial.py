"""Decides how a device tries a release: as the terms say, within what the gate tolerates."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from sealane_manager.gate.types import Breach, Kind, Mode

if TYPE_CHECKING:
    from sealane.policy import Trial

    from sealane_manager.rollout.types import RolloutSpec


def trial_of(spec: RolloutSpec, *, promoted: bool = False) -> Trial:
    """What a device is told: a share of other answers that stops the rollout stops it there too.

    A challenger waits for the verdict until it was promoted there.
    """
    trial, check = spec.terms.trial, spec.gate.checks.of(Kind.DISAGREEMENT)
    if spec.terms.challenge is not None:
        trial = replace(trial, awaits=not promoted)
    if check is None or check.mode is not Mode.ENFORCE or check.breach is not Breach.FAIL:
        return trial
    return replace(trial, disagreement=check.tolerate) if trial.shadow_seconds else trial
