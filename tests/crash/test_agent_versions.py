"""A version of the agent is brought, tried, kept and given up, with a fault at every operation."""

from __future__ import annotations

import io
import tarfile
from typing import TYPE_CHECKING, Final

import pytest
from sealane import fileio
from sealane.names import Digest, ReleaseName
from sealane_agent.layout import ACTIVE, LKG, Pointer, StateFolder
from sealane_agent.upgrade.folder import AGENT, UpgradeFolder
from sealane_agent.upgrade.launch import remember
from sealane_agent.upgrade.starts import PACKAGE, choose, well
from sealane_agent.upgrade.unpack import unpack
from support.crash_disk import ERRORS, Died, Fault, FaultyDisk
from support.crash_model import Model
from support.trust import START, ManualClock

if TYPE_CHECKING:
    from pathlib import Path

FILES: Final = {"lib/one": b"1" * 100, "lib/site/two": b"2" * 3000}
SIZE: Final = sum(map(len, FILES.values()))
VERSIONS: Final = [
    Pointer(ReleaseName("sealane/agent", number), Digest("sha256:" + str(number) * 64), "agent")
    for number in (1, 2)
]
FAULTS: Final = (
    Fault.KILL_BEFORE,
    Fault.CUT_ALL,
    Fault.CUT_SOME,
    Fault.TORN,
    Fault.NO_SPACE,
)


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("archive") / "agent.tar.gz"
    with tarfile.open(path, "w:gz") as out:
        for name, content in FILES.items():
            header = tarfile.TarInfo(name)
            header.size = len(content)
            out.addfile(header, io.BytesIO(content))
    return path


def live(folder: UpgradeFolder, archive: Path) -> None:
    """The first version is kept; the second one is tried until the launcher gives it up."""
    folder.begin()
    first, second = VERSIONS
    if folder.pointers().lkg == PACKAGE:
        bring(folder, archive, first)
        start(folder)
        folder.point(LKG, first)
        folder.write_starts(AGENT, well(folder.starts(AGENT)))
    if folder.given_up() is None:
        bring(folder, archive, second)
        while folder.given_up() is None:
            start(folder)


def bring(folder: UpgradeFolder, archive: Path, version: Pointer) -> None:
    """What the supervisor does, in its order; all of it may be done again."""
    tree = folder.version(version.manifest)
    if not tree.is_dir():
        fileio.make_folder(tree.parent)
        unpack(archive, tree, SIZE)
    lkg = folder.pointers().lkg
    assert lkg is not None
    folder.keep_previous(lkg)
    folder.write_starts(AGENT, well(folder.starts(AGENT)))
    folder.point(ACTIVE, version)


def start(folder: UpgradeFolder) -> Pointer:
    """What the launcher does before it becomes the version; that then ends without a word."""
    found = choose(folder.pointers(), folder.starts(AGENT), "boot")
    remember(folder, AGENT, found)
    return found.run


def is_whole(folder: UpgradeFolder, version: Pointer) -> bool:
    tree = folder.version(version.manifest)
    return version == PACKAGE or all(
        (tree / name).is_file() and (tree / name).read_bytes() == content
        for name, content in FILES.items()
    )


def operations(root: Path, archive: Path) -> int:
    disk = FaultyDisk(Model(root), ManualClock(START))
    with fileio.using(disk):
        live(UpgradeFolder(StateFolder(root)), archive)
    return len(disk.operations)


@pytest.mark.parametrize("fault", FAULTS)
def test_whatever_happens_a_whole_version_is_started_and_the_end_is_the_same(
    fault: Fault, archive: Path, tmp_path: Path
) -> None:
    (tmp_path / "whole").mkdir()
    count = operations(tmp_path / "whole", archive)
    assert count > 60
    for at in range(1, count + 1):
        root = tmp_path / f"{at}"
        root.mkdir()
        disk = FaultyDisk(Model(root), ManualClock(START), fault, at)
        try:
            with fileio.using(disk):
                live(UpgradeFolder(StateFolder(root)), archive)
        except Died:
            pass
        except OSError:
            assert fault in ERRORS
        if disk.found is not None:
            root = tmp_path / f"{at}-after"
            disk.found.write(root)
        folder = UpgradeFolder(StateFolder(root))
        where = f"{fault} at {at}: {disk.operations[min(at, len(disk.operations)) - 1]}"
        with fileio.using(FaultyDisk(Model(root), ManualClock(START))):
            assert is_whole(folder, start(folder)), where
            live(folder, archive)
        given_up = folder.given_up()
        assert given_up is not None, where
        assert given_up.manifest == VERSIONS[1].manifest, where
        pointers = folder.pointers()
        assert (pointers.active, pointers.lkg) == (VERSIONS[0], VERSIONS[0]), where
        assert is_whole(folder, VERSIONS[0]), where
