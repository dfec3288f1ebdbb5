"""Makes a bundle of a version of the agent: the folder that its package lays side by side.

The same folder gives the same bytes: names in order, no owners, no times.
"""

from __future__ import annotations

import gzip
import re
import tarfile
import tempfile
from dataclasses import dataclass
from hashlib import file_digest
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sealane.bundle.agent import (
    AGENT_TREE_FILES,
    AgentContract,
    check_tree_path,
    parse_contract,
)
from sealane.bundle.layout import write_layout
from sealane.bundle.manifest import (
    AGENT_ARTIFACT,
    AGENT_CONFIG,
    AGENT_CONTRACT,
    AGENT_CONTRACT_PATH,
    AGENT_TREE,
    AGENT_TREE_PATH,
    CONFIG_PATH,
    digest_of,
    encode_config,
    encode_manifest,
)
from sealane.bundle.types import Layer
from sealane.names import AGENT_MODEL, Digest

from sealane_manager.errors import Refused

if TYPE_CHECKING:
    from typing import BinaryIO

    from sealane.bundle.types import Manifest

_LEVEL: Final = 6
_LIBRARY: Final = re.compile(r"python(3\.\d{1,3})")
_METADATA: Final = "sealane_agent-*.dist-info/METADATA"
_VERSION: Final = re.compile(r"^Version: (\S+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class AgentOrder:
    """Which folder becomes which bundle, and for which machines.

    Attributes:
        tree: with `bin/python3` and `lib/pythonX.Y/site-packages`.
        out: a new folder for the layout.
        probation_s: how long a device watches it before it keeps it.
    """

    tree: Path
    out: Path
    arch: str
    probation_s: float = 60.0


def pack_agent(order: AgentOrder) -> tuple[Manifest, AgentContract]:
    """Write the layout; raises Refused, BundleError or OSError."""
    packages, python = _packages(order.tree)
    paths = _paths(order.tree)
    size = sum((order.tree / path).stat().st_size for path in paths)
    contract = AgentContract(
        version=_version(packages),
        arch=order.arch,
        os="linux",
        python=python,
        unpacked_bytes=size,
        probation_s=order.probation_s,
    )
    parse_contract(contract.encode())
    with tempfile.TemporaryDirectory() as scratch:
        archive = Path(scratch) / AGENT_TREE_PATH
        with archive.open("wb") as file:
            _write_tree(order.tree, paths, file)
        manifest = _manifest(contract, archive)
        files: dict[str, Path | bytes] = {
            CONFIG_PATH: encode_config(AGENT_MODEL, manifest.layers),
            AGENT_CONTRACT_PATH: contract.encode(),
            AGENT_TREE_PATH: archive,
        }
        write_layout(order.out, manifest, files)
    return manifest, contract


def _packages(tree: Path) -> tuple[Path, str]:
    for folder in sorted((tree / "lib").glob("python3.*")) if (tree / "lib").is_dir() else ():
        found = _LIBRARY.fullmatch(folder.name)
        if found and (folder / "site-packages" / "sealane_agent").is_dir():
            return folder / "site-packages", found[1]
    raise Refused(
        f"{tree} holds no version of the agent",
        hint="name the folder VERSION.DIGEST below usr/lib/sealane-agent of an unpacked package",
    )


def _version(packages: Path) -> str:
    for path in packages.glob(_METADATA):
        if found := _VERSION.search(path.read_text()):
            return found[1]
    raise Refused(f"{packages} does not say which version of the agent it holds")


def _paths(tree: Path) -> list[str]:
    paths = sorted(
        path.relative_to(tree).as_posix()
        for path in tree.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".pyc"
    )
    # The interpreter is the machine's own, and programs name the folder they were made for.
    paths = [path for path in paths if not path.startswith("bin/") and path != "pyvenv.cfg"]
    if len(paths) > AGENT_TREE_FILES:
        raise Refused(f"{tree} holds {len(paths)} files; at most {AGENT_TREE_FILES} are taken")
    return [check_tree_path(path) for path in paths]


def _write_tree(tree: Path, paths: list[str], out: BinaryIO) -> None:
    with (
        gzip.GzipFile("", "wb", _LEVEL, out, mtime=0) as compressed,
        tarfile.open(fileobj=compressed, mode="w", format=tarfile.PAX_FORMAT) as archive,
    ):
        for path in paths:
            header = tarfile.TarInfo(path)
            with (tree / path).open("rb") as content:
                header.size, header.mode = (tree / path).stat().st_size, 0o644
                archive.addfile(header, content)


def _manifest(contract: AgentContract, archive: Path) -> Manifest:
    with archive.open("rb") as file:
        digest = Digest(f"sha256:{file_digest(file, 'sha256').hexdigest()}")
    said = contract.encode()
    layers = (
        Layer(AGENT_CONTRACT_PATH, AGENT_CONTRACT, digest_of(said), len(said)),
        Layer(AGENT_TREE_PATH, AGENT_TREE, digest, archive.stat().st_size),
    )
    config = encode_config(AGENT_MODEL, layers)
    described = Layer(CONFIG_PATH, AGENT_CONFIG, digest_of(config), len(config))
    return encode_manifest(described, layers, AGENT_ARTIFACT)
