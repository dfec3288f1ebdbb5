"""No order of events makes a device go back, or approve what was not listed."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st
from sealane.errors import TrustError
from sealane.trust import highwater
from support.trust import Scene

if TYPE_CHECKING:
    from sealane.trust.documents import SlotAssignment
    from sealane.trust.verifier import Accepted

_EVENTS = st.sampled_from(
    ["poll", "publish", "revoke", "replay network", "rotate", "restart", "day", "clock back"]
)


class History:
    """What happened between a device and a network that may replay what it saw."""

    def __init__(self, folder: Path) -> None:
        self.scene = Scene(folder)
        self.saved = dict(self.scene.authority.files)
        self.slots: list[SlotAssignment] = []
        self.listed: set[str] = set()

    def happen(self, event: str) -> None:
        authority = self.scene.authority
        match event:
            case "publish":
                name = f"digits/classifier@{len(self.slots) + 1}"
                self.slots.append(authority.approve(name))
                self.listed.add(name)
            case "revoke" if self.listed:
                authority.revoke(self.listed.pop())
            case "rotate":
                authority.rotate("director")
            case "restart":
                self.scene.restarted()
            case "day":
                self.scene.pass_time(timedelta(days=1))
                authority.publish()
            case "clock back":
                self.scene.clock.wall -= timedelta(days=400)

    def poll(self, *, replayed: bool) -> Accepted | None:
        authority = self.scene.authority
        honest = authority.files
        authority.files = self.saved if replayed else honest
        try:
            return self.scene.poll(*self.slots[-1:])
        except TrustError:
            return None
        finally:
            authority.files = honest
            self.saved = dict(honest) if not replayed else self.saved


@settings(max_examples=40, deadline=None)
@given(st.lists(_EVENTS, min_size=3, max_size=14))
def test_marks_never_fall_and_only_listed_releases_are_approved(events: list[str]) -> None:
    with TemporaryDirectory() as folder:
        history = History(Path(folder) / "trust")
        marks = highwater.load(history.scene.folder / "highwater.json")
        for event in events:
            if event in ("poll", "replay network"):
                accepted = history.poll(replayed=event != "poll")
                approved = (
                    {str(item.assignment.release) for item in accepted.approved}
                    if accepted
                    else set()
                )
                assert approved <= history.listed
                assert accepted is not None or event != "poll"
            else:
                history.happen(event)
            seen = highwater.load(history.scene.folder / "highwater.json")
            _assert_not_lower(marks, seen)
            marks = seen


def _assert_not_lower(before: highwater.HighWater, after: highwater.HighWater) -> None:
    assert after.root >= before.root
    for old, new in (
        (before.director, after.director),
        (before.timestamp, after.timestamp),
        (before.snapshot, after.snapshot),
        (before.time, after.time),
    ):
        assert new.keys != old.keys or new.version >= old.version
