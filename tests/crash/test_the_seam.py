"""Nothing durable of the agent goes past the seam, and every part of its life is in the acts."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import pytest
from support.crash_cases import operations_of

ROOT: Final = Path(__file__).parents[2]
CHANGES: Final = re.compile(
    r"write_bytes|write_text|(?<!fileio)\.rename\(|\.unlink\(|\.mkdir\(|\.touch\(|shutil\.rm"
    r"|os\.(rename|replace|remove|rmdir|link|symlink|truncate|open)\b|open\([^)]*\"[wax]b?\""
    r"|sqlite3\.connect|\"COMMIT\"|executescript"
)
ELSEWHERE: Final = {
    "agent/sealane_agent/app.py": "the lock has no content",
    "agent/sealane_agent/cli/main.py": "what nobody reads any more goes to no disk",
    "agent/sealane_agent/database.py": "it is the seam of databases",
    "agent/sealane_agent/diagnosis/measure.py": "it reads databases and changes none",
    "agent/sealane_agent/diagnosis/support.py": "an archive for somebody else can be made again",
    "agent/sealane_agent/endpoint/keeper.py": "the endpoint's log may be lost",
    "agent/sealane_agent/kit/turn.py": "it holds a folder and changes nothing",
    "agent/sealane_agent/line/door.py": "a socket's name is made anew at each start",
    "agent/sealane_agent/oip/regions.py": "shared memory is no disk",
    "agent/sealane_agent/sampling/sending.py": "a delivered sample that comes back is sent again",
    "agent/sealane_agent/serving/app.py": "the lock has no content",
    "agent/sealane_agent/serving/bodies.py": "an anonymous file in memory is no disk",
    "agent/sealane_agent/serving/control.py": "a socket's name is made anew at each start",
    "agent/sealane_agent/serving/control_groups.py": "it speaks to the kernel",
    "agent/sealane_agent/upgrade/interpreter.py": "the link is made anew at each start",
    "agent/sealane_agent/upgrade/unpack.py": "a half-made folder is removed again at the next try",
    "agent/sealane_agent/worker/host.py": "it speaks to the kernel",
}
"""Files of the agent that change a disk beside the seam, and why that loses nothing."""


def test_the_agent_changes_its_disk_through_the_seam_alone() -> None:
    found = {
        str(path.relative_to(ROOT))
        for folder in ("agent/sealane_agent", "core/sealane/trust")
        for path in (ROOT / folder).rglob("*.py")
        if CHANGES.search(path.read_text())
    }
    assert found == set(ELSEWHERE)


@pytest.mark.parametrize(
    ("act", "operation"),
    [
        ("enrol", "rename state/identity/device.json"),
        ("first release", "write state/store/partial/"),
        ("first release", "link state/store/views/"),
        ("second release", "rename state/slots/cam/active"),
        ("second release", "rename state/slots/cam/lkg"),
        ("roll back", "rename state/slots/cam/active"),
        ("change of mind", "unlink state/store/blobs/"),
        ("change of mind", "remove folder state/store/views/"),
        ("offline", "execute state/journal.db"),
        ("telemetry", "execute state/telemetry.db"),
        ("renewal", "rename state/identity/device.key"),
        ("first release", "rename state/engines.json"),
        ("kit", "rename state/qualified.json"),
        ("kit", "rename state/footprints.json"),
    ],
)
def test_the_acts_hold_what_a_device_does_on_its_disk(act: str, operation: str) -> None:
    assert any(str(each).startswith(operation) for each in operations_of(act))
