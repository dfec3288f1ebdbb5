"""A version of the agent becomes a bundle that is the same bytes each time."""

from __future__ import annotations

import tarfile
from typing import TYPE_CHECKING

import pytest
from sealane.bundle.check import check_agent_layout, check_layout
from sealane.bundle.layout import blob_path
from sealane.bundle.manifest import AGENT_ARTIFACT, AGENT_TREE_PATH, layer_at
from sealane.errors import BundleError
from sealane_manager.bundle.agent import AgentOrder, pack_agent
from sealane_manager.cli.bundle import app
from sealane_manager.errors import Refused
from support.versions import PYTHON, version_tree
from typer.testing import CliRunner

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = version_tree(tmp_path_factory.mktemp("version") / "tree", "4.5.6")
    (found / "bin").mkdir()
    (found / "bin" / "python3").symlink_to("/usr/bin/python3")
    (found / "pyvenv.cfg").write_text("home = /usr/bin\n")
    return found


def test_a_version_says_what_it_is(tree: Path, tmp_path: Path) -> None:
    manifest, contract = pack_agent(AgentOrder(tree, tmp_path / "out", "x86_64", 30.0))
    assert (contract.version, contract.arch, contract.python) == ("4.5.6", "x86_64", PYTHON[6:])
    assert manifest.artifact == AGENT_ARTIFACT
    assert check_agent_layout(tmp_path / "out") == (manifest, contract)


def test_the_same_version_gives_the_same_bytes(tree: Path, tmp_path: Path) -> None:
    one, _ = pack_agent(AgentOrder(tree, tmp_path / "one", "x86_64"))
    for path in tree.rglob("*.py"):
        path.touch()
    two, _ = pack_agent(AgentOrder(tree, tmp_path / "two", "x86_64"))
    assert one == two


def test_no_program_and_no_interpreter_is_packed(tree: Path, tmp_path: Path) -> None:
    manifest, contract = pack_agent(AgentOrder(tree, tmp_path / "out", "x86_64"))
    archive = blob_path(tmp_path / "out", layer_at(manifest, AGENT_TREE_PATH).digest)
    with tarfile.open(archive) as members:
        found = members.getmembers()
    assert all(each.isreg() and each.name.startswith("lib/") for each in found)
    assert sum(each.size for each in found) == contract.unpacked_bytes


@pytest.mark.parametrize("what", ["nothing", "no metadata", "a file"])
def test_what_is_no_version_is_refused(tmp_path: Path, what: str) -> None:
    folder = tmp_path / "tree"
    if what == "no metadata":
        (folder / "lib" / PYTHON / "site-packages" / "sealane_agent").mkdir(parents=True)
    if what == "a file":
        folder.write_text("x")
    with pytest.raises(Refused):
        pack_agent(AgentOrder(folder, tmp_path / "out", "x86_64"))
    assert not (tmp_path / "out").exists()


def test_a_version_is_no_bundle_of_a_model(tree: Path, tmp_path: Path) -> None:
    pack_agent(AgentOrder(tree, tmp_path / "out", "x86_64"))
    with pytest.raises(BundleError, match=r"lists no deployment\.json"):
        check_layout(tmp_path / "out")


def test_an_archive_that_was_changed_is_noticed(tree: Path, tmp_path: Path) -> None:
    manifest, _ = pack_agent(AgentOrder(tree, tmp_path / "out", "x86_64"))
    archive = blob_path(tmp_path / "out", layer_at(manifest, AGENT_TREE_PATH).digest)
    content = bytearray(archive.read_bytes())
    content[len(content) // 2] ^= 1
    archive.write_bytes(content)
    with pytest.raises(BundleError, match="was changed"):
        check_agent_layout(tmp_path / "out")


def test_verify_knows_a_version_of_the_agent_too(tree: Path, tmp_path: Path) -> None:
    manifest, _ = pack_agent(AgentOrder(tree, tmp_path / "out", "x86_64"))
    done = CliRunner().invoke(app, ["verify", str(tmp_path / "out")])
    assert done.exit_code == 0, done.stderr
    assert "4.5.6" in done.stdout
    assert manifest.digest in done.stdout
    blob_path(tmp_path / "out", manifest.layers[0].digest).write_bytes(b"damaged")
    assert CliRunner().invoke(app, ["verify", str(tmp_path / "out")]).exit_code == 1
