"""Tells a rollout in one message to command lines that know nothing of parts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sealane.limits import MIB

from sealane_manager.errors import Refused
from sealane_manager.rpc import convert

if TYPE_CHECKING:
    from sealane.wire.v1 import operator_pb2 as wire

    from sealane_manager.views import RolloutView

WHOLE_BYTES: Final = 4 * MIB
"""Some forty thousand devices, of which nobody wrote a sentence."""


def in_one(rollout: RolloutView) -> wire.Rollout:
    """All of it; raises Refused where a message would be larger than may be sent."""
    told = convert.rollout_to_wire(rollout)
    if told.ByteSize() > WHOLE_BYTES:
        raise Refused(
            f"rollout {rollout.id} has {len(rollout.devices)} devices,"
            " more than this command line can be told at once",
            hint="install the command line of the manager's version: it asks in parts",
        )
    return told
