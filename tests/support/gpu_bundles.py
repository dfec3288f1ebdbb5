"""The tiny bundle with a second variant: the same file, for a GPU."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from support.bundles import manifest_of, tiny_deployment, tiny_files

if TYPE_CHECKING:
    from sealane.bundle.types import Deployment, Manifest

GPU = "cuda-fp32"


def gpu_deployment() -> Deployment:
    """Its contract: a variant for the GPU, then that for the processor."""
    plain = tiny_deployment()
    (cpu,) = plain.variants
    return replace(plain, variants=(replace(cpu, name=GPU, accelerator="gpu"), cpu))


def gpu_files(version: int = 1) -> dict[str, bytes]:
    """Its files."""
    return tiny_files(version, gpu_deployment())


def gpu_manifest(version: int = 1) -> Manifest:
    """Its manifest."""
    return manifest_of(gpu_files(version))[0]
