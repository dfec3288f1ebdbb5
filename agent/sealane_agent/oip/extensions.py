"""What both doors offer beyond plain inference: loading, shared memory, forms of outputs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sealane_agent.oip.classification import classified
from sealane_agent.oip.metrics import Names
from sealane_agent.serving.types import NotAllowed, NotSupported

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sealane_agent.oip.parameters import Wish
    from sealane_agent.oip.regions import Regions
    from sealane_agent.serving.dataplane import Dataplane
    from sealane_agent.serving.types import Tensor


@dataclass(frozen=True, slots=True)
class Extensions:
    """The dataplane and what its owner allows; `repository`: whether clients load and unload."""

    dataplane: Dataplane
    regions: Regions
    repository: bool = False
    names: Names = Names.SEALANE

    async def load(self, model: str, parameters: Mapping[str, Any]) -> None:
        """Serve a model again; raises ServingError."""
        self._require_repository()
        if parameters.keys() - {"unload_dependents"}:
            raise NotSupported(
                "a model comes with its signed bundle, not with parameters",
                hint="publish a release and roll it out",
            )
        await self.dataplane.load(model)

    def unload(self, model: str) -> None:
        """Serve a model no longer; raises ServingError."""
        self._require_repository()
        self.dataplane.unload(model)

    def _require_repository(self) -> None:
        if not self.repository:
            raise NotAllowed(
                "clients may not load or unload models here",
                hint="its owner can set endpoint.repository",
            )

    def formed(
        self, asked: tuple[str, str], wish: Wish, outputs: tuple[Tensor, ...]
    ) -> tuple[Tensor, ...]:
        """The outputs of a model as a client wishes them; raises ServingError.

        What is written into shared memory comes back without its bytes.
        """
        model, client = asked
        if wish.classes:
            labels = self.dataplane.describe(model, None).deployment.labels
            outputs = classified(outputs, wish, labels)
        return tuple(self._placed(client, wish, tensor) for tensor in outputs)

    def _placed(self, client: str, wish: Wish, tensor: Tensor) -> Tensor:
        place = wish.places.get(tensor.name)
        if place is None:
            return tensor
        self.regions.find(client, place.region).write(place.offset, tensor.data, place.size)
        return tensor._replace(data=b"")
