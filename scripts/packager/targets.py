"""Which machines packages are built for, and what is in each package."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Target:
    """A Debian release, or any Linux, on an architecture.

    Attributes:
        suite: what a Debian package's version ends with; `linux` is any.
        arch: Debian's word for the architecture.
        python: the release's python, as `3.11`.
        wheels: the platform whose wheels run there.
    """

    suite: str
    arch: str
    python: str
    wheels: str

    @property
    def next_python(self) -> str:
        """The first python that the packages are not for."""
        major, minor = self.python.split(".")
        return f"{major}.{int(minor) + 1}"

    @property
    def own_python(self) -> bool:
        """Whether a package brings its Python along, because nobody knows the machine's."""
        return self.suite == LINUX

    @property
    def machine(self) -> str:
        """The kernel's word for the architecture."""
        return _MACHINES[self.arch]


LINUX: Final = "linux"
BASE_SUITE: Final = "deb12"
"""The Debian release whose Python packages for any Linux bring along."""

_PYTHONS: Final = {"deb12": "3.11", "deb13": "3.13"}
_MACHINES: Final = {"amd64": "x86_64", "arm64": "aarch64"}
_GLIBC: Final = "manylinux_2_36"
"""Debian 12 has glibc 2.36; openvino's wheels for arm64 need that much."""


def target(suite: str, arch: str) -> Target:
    """One target; raises KeyError when there is none of these names."""
    python = _PYTHONS[BASE_SUITE if suite == LINUX else suite]
    return Target(suite, arch, python, f"{_MACHINES[arch]}-{_GLIBC}")


SUITES: Final = tuple(_PYTHONS)
ARCHITECTURES: Final = tuple(_MACHINES)


@dataclass(frozen=True, slots=True)
class Package:
    """What one package holds.

    Attributes:
        projects: folders of the distributions whose requirements it carries.
        extras: of the first of them.
        own: folders of the distributions that it carries itself.
        engine: a requirement that it carries instead of any project's.
        lock: the file that holds what it carries, with hashes.
        usual: whether it is built when no package is named.
        without: locked distributions that are left out.
        home: folder of its python files on the machine.
        command: its program, and the module whose `main` that runs.
        side_by_side: whether each build gets a folder of its own below `home`.
        packs: folders that other packages fill for this one's processes.
        files: what is copied as it is: path below packaging/ to path on the machine.
        depends: other packages that it needs.
    """

    name: str
    summary: str
    description: tuple[str, ...]
    home: str
    projects: tuple[str, ...] = ()
    extras: tuple[str, ...] = ()
    own: tuple[str, ...] = ()
    engine: str = ""
    lock: str = "requirements.lock"
    usual: bool = True
    without: tuple[str, ...] = ()
    command: tuple[str, str] | None = None
    side_by_side: bool = False
    packs: tuple[str, ...] = ()
    files: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    depends: tuple[str, ...] = ()


_OPENVINO: Final = "usr/lib/sealane-runtimes/openvino"
_CUDA: Final = "usr/lib/sealane-runtimes/cuda"
_UNITS: Final = "usr/lib/systemd/system"

AGENT: Final = Package(
    name="sealane-agent",
    summary="verifies, hot-swaps and serves machine-learning models on a device",
    description=(
        "The agent of one device: a supervisor that follows the fleet's manager,",
        "an endpoint that answers requests, and a worker process per model.",
        "Brings onnxruntime; other runtimes come as packages of their own.",
    ),
    home="usr/lib/sealane-agent",
    projects=("agent", "core"),
    extras=("onnx",),
    own=("core", "agent"),
    command=("sealane-agent", "sealane_agent.cli.main"),
    side_by_side=True,
    packs=(_OPENVINO,),
    files={
        "config/agent.toml": "etc/sealane/agent.toml",
        "systemd/sealane-agent.service": f"{_UNITS}/sealane-agent.service",
        "systemd/sealane-endpoint.service": f"{_UNITS}/sealane-endpoint.service",
        "systemd/sealane-enroll.service": f"{_UNITS}/sealane-enroll.service",
        "systemd/sealane-agent.sysusers": "usr/lib/sysusers.d/sealane-agent.conf",
        "systemd/sealane-agent.tmpfiles": "usr/lib/tmpfiles.d/sealane-agent.conf",
    },
    depends=("systemd",),
)

MANAGER: Final = Package(
    name="sealane-manager",
    summary="signs model bundles and moves them through staged rollouts to devices",
    description=(
        "The centre of a fleet: trust repository, rollouts, the operators' command",
        "line `sealane`, and what packs models into bundles.",
    ),
    home="usr/lib/sealane-manager",
    projects=("manager", "core"),
    extras=("pack",),
    own=("core", "manager"),
    command=("sealane", "sealane_manager.cli.main"),
    files={
        "config/manager.toml": "etc/sealane/manager.toml",
        "systemd/sealane-manager.service": f"{_UNITS}/sealane-manager.service",
        "systemd/sealane-manager.sysusers": "usr/lib/sysusers.d/sealane-manager.conf",
        "systemd/sealane-manager.tmpfiles": "usr/lib/tmpfiles.d/sealane-manager.conf",
    },
    depends=("systemd",),
)

OPENVINO: Final = Package(
    name="sealane-runtime-openvino",
    summary="runs variants for OpenVINO on a Sealane device",
    description=(
        "The OpenVINO runtime for sealane-agent, without its telemetry, and a",
        "drop-in that lets the endpoint's workers compile to machine code.",
    ),
    home=_OPENVINO,
    engine="openvino",
    without=("numpy", "openvino-telemetry"),
    files={
        "systemd/50-openvino.conf": f"{_UNITS}/sealane-endpoint.service.d/50-openvino.conf",
    },
    depends=("sealane-agent",),
)

CUDA: Final = Package(
    name="sealane-runtime-cuda",
    summary="runs variants for NVIDIA's GPUs on a Sealane device",
    description=(
        "ONNX Runtime with CUDA and all its libraries, for the workers of variants",
        "for a GPU alone, and a drop-in that gives the agent's units the cards.",
        "NVIDIA's driver comes from elsewhere.",
    ),
    home=_CUDA,
    engine="onnxruntime-gpu[cuda,cudnn]",
    lock="packaging/runtime-cuda.lock",
    usual=False,
    without=("flatbuffers", "numpy", "packaging", "protobuf"),
    files={
        "systemd/50-cuda.conf": f"{_UNITS}/sealane-endpoint.service.d/50-cuda.conf",
        "systemd/50-cuda-agent.conf": f"{_UNITS}/sealane-agent.service.d/50-cuda.conf",
    },
    depends=("sealane-agent",),
)

PACKAGES: Final = {package.name: package for package in (AGENT, MANAGER, OPENVINO, CUDA)}
