"""Reads what a bundle's deployment says of one variant; both ends of a worker begin with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sealane.bundle.deployment import parse_deployment
from sealane.bundle.manifest import DEPLOYMENT_PATH, check_path
from sealane.errors import BundleError
from sealane.failure import FailureKind

from sealane_agent.worker.orders import load_failed

if TYPE_CHECKING:
    from pathlib import Path

    from sealane.bundle.types import Deployment, Variant


def read_variant(view: Path, name: str) -> tuple[Deployment, Variant]:
    """The deployment in a view and one of its variants; raises LoadFailed."""
    try:
        deployment = parse_deployment((view / DEPLOYMENT_PATH).read_bytes())
    except OSError as error:
        raise load_failed(FailureKind.ENVIRONMENTAL, "store", str(view), error) from error
    except BundleError as error:
        raise load_failed(FailureKind.PERMANENT, "bundle", DEPLOYMENT_PATH, error) from error
    try:
        return deployment, _find(deployment, name)
    except BundleError as error:
        raise load_failed(FailureKind.PERMANENT, "bundle", name, error) from error


def _find(deployment: Deployment, name: str) -> Variant:
    for variant in deployment.variants:
        if variant.name == name:
            golden = deployment.golden
            for path in (variant.model, *golden.inputs.values(), *golden.outputs.values()):
                check_path(path)
            return variant
    raise BundleError(f"the bundle has no variant {name}")
