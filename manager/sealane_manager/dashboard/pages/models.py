"""Models and their releases: what is listed, what each bundle holds, where it serves."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

from sealane.bundle.deployment import parse_deployment
from sealane.bundle.manifest import DEPLOYMENT_PATH, parse_manifest
from sealane.errors import SealaneError
from sealane.limits import DEPLOYMENT_BYTES, MANIFEST_BYTES

from sealane_manager.dashboard.pages.charts import Charting, release_in
from sealane_manager.errors import NotKnown

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fastapi import FastAPI
    from sealane.bundle.types import Deployment, Manifest
    from sealane.names import Digest, ReleaseName
    from starlette.requests import Request
    from starlette.responses import Response

    from sealane_manager.dashboard.front import Front, Visit
    from sealane_manager.store.records import QuarantineRecord
    from sealane_manager.store.summaries import Serving
    from sealane_manager.views import ReleaseView


@dataclass(frozen=True, slots=True)
class ReleaseLine:
    """One release with how many devices serve it, and how many should."""

    view: ReleaseView
    active: int
    desired: int


@dataclass(frozen=True, slots=True)
class Model:
    """A model with its releases, the newest first."""

    name: str
    releases: tuple[ReleaseLine, ...]


class ModelPages:
    """Models and releases."""

    def __init__(self, front: Front) -> None:
        self._front, self._offices = front, front.offices
        self._charting = Charting()

    def add_to(self, app: FastAPI) -> None:
        """Answer under these addresses."""
        app.add_route("/models", self.table, ["GET"])
        app.add_route("/models/{family}/{model}/{version}", self.show, ["GET"])

    def table(self, request: Request) -> Response:
        """Every model."""
        visit = self._front.visit(request)
        return self._front.page(visit, "models.html", models=self._models(visit))

    def _models(self, visit: Visit) -> tuple[Model, ...]:
        lines = lines_of(
            self._offices.publishing.releases(), visit.offices.store.overview.serving()
        )
        ordered = sorted(lines, key=lambda line: (line.view.name.model, -line.view.name.version))
        grouped = groupby(ordered, key=lambda line: line.view.name.model)
        return tuple(Model(name, tuple(releases)) for name, releases in grouped)

    def show(self, request: Request) -> Response:
        """One release and its bundle."""
        visit = self._front.visit(request)
        name = release_in(visit)
        serving = visit.offices.store.overview.serving()
        lines = lines_of(self._offices.publishing.releases(), serving)
        line = next((line for line in lines if line.view.name == name), None)
        if not line:
            raise NotKnown(f"release {name} is not listed", hint="see the list of models")
        manifest, deployment, trouble = self._bundle(line.view.manifest)
        content = {"manifest": manifest, "deployment": deployment, "trouble": trouble}
        where = [each for each in serving if each.release == str(name)]
        charts = self._charting.model(visit, name)
        return self._front.page(
            visit,
            "release.html",
            line=line,
            where=where,
            charts=charts,
            quarantined=self._quarantined(name),
            **content,
        )

    def _quarantined(self, name: ReleaseName) -> QuarantineRecord | None:
        found = self._offices.rollouts.quarantined()
        return next((each for each in found if each.release == str(name)), None)

    def _bundle(self, digest: Digest) -> tuple[Manifest | None, Deployment | None, str]:
        """The manifest and contract of a bundle, or why they cannot be read."""
        blobs = self._offices.blobs
        try:
            manifest = parse_manifest(blobs.content(digest, MANIFEST_BYTES))
            layers = (manifest.config, *manifest.layers)
            found = next(layer for layer in layers if layer.path == DEPLOYMENT_PATH)
            content = blobs.content(found.digest, DEPLOYMENT_BYTES)
            return manifest, parse_deployment(content), ""
        except (SealaneError, StopIteration) as error:
            return None, None, str(error) or f"the bundle has no {DEPLOYMENT_PATH}"


def lines_of(
    releases: Iterable[ReleaseView], serving: Iterable[Serving]
) -> tuple[ReleaseLine, ...]:
    """The releases with where they serve."""
    counts: dict[str, tuple[int, int]] = {}
    for each in serving:
        active, desired = counts.get(each.release, (0, 0))
        counts[each.release] = (active + each.active, desired + each.desired)
    return tuple(ReleaseLine(view, *counts.get(str(view.name), (0, 0))) for view in releases)
