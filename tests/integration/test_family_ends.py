"""A family in use ends through the operators' port only when that is said."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from sealane.names import ReleaseName
from sealane_manager.errors import Refused
from sealane_manager.rollout.types import RolloutSpec, Stage
from sealane_manager.trust.edits import Ground, without_family
from sealane_manager.trust.keys import key_path, load_signer
from sealane_manager.trust.proposals import Proposal, look, propose
from support.manager import FAMILY, SLOT, running_manager

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.slow
def test_a_family_that_devices_shall_serve_is_ended_only_on_purpose(tmp_path: Path) -> None:
    with running_manager(tmp_path) as manager, manager.operator() as operator:
        manager.publish(tmp_path, 1)
        manager.enrolled("press-1")
        spec = RolloutSpec(
            ReleaseName("demo/tiny", 1), SLOT, "", (Stage(percent=100),), timedelta(0)
        )
        rollout = operator.create_rollout(spec).id
        signer = load_signer(key_path(manager.state.keys, "targets"))
        found = look(operator)
        targets = without_family(Ground(found.base, found.current, datetime.now(UTC)), FAMILY)
        with pytest.raises(Refused, match=f"family demo is in use: .*rollout {rollout} not ended"):
            propose(operator, found, Proposal(targets, "given up", (signer,)))
        assert [str(release.name) for release in operator.list_releases()] == ["demo/tiny@1"]
        (outcome,) = propose(operator, found, Proposal(targets, "given up", (), in_use=True))
        assert outcome.published == ("targets",)
        assert operator.list_releases() == ()
