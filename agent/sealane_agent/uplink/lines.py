"""Opens a line to the manager: a session, or what polls make of one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sealane_agent.uplink import rpc
from sealane_agent.uplink.dialling import By
from sealane_agent.uplink.polled import Polled
from sealane_agent.uplink.profile import DEFAULT

if TYPE_CHECKING:
    from sealane_agent.identity.membership import Membership
    from sealane_agent.uplink.profile import Profile
    from sealane_agent.uplink.session import Line


def dialled(by: By, membership: Membership, profile: Profile = DEFAULT) -> Line:
    """A line of that kind; nothing has been said on it yet."""
    if by is By.POLL:
        return Polled(rpc.Calls(membership, profile))
    return rpc.Line(membership, profile)
