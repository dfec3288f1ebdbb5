"""Measures what a patch saves: the bytes of a model's next version, whole and as a patch.

The weights are random, so that nothing is saved but what two versions share. A retrained head keeps
every weight of the backbone; a fine-tune moves every weight a little, of which few leave their step
once they are int8.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
from sealane.patches import applied, made

if TYPE_CHECKING:
    import numpy.typing as npt

    Floats = npt.NDArray[np.float32]

BACKBONE: Final = 2_000_000
HEAD: Final = 5_120
STEP: Final = 0.02
MOVES: Final = (0.0001, 0.001)
"""By how much of a weight's spread a fine-tune moves each weight."""


def main() -> None:
    """Measure and print; what a patch makes must be the blob, or nothing is printed."""
    dice = np.random.default_rng(7)
    backbone, head = _weights(dice, BACKBONE), _weights(dice, HEAD)
    show("retrained head", _bytes(backbone, head), _bytes(backbone, _weights(dice, HEAD)))
    for move in MOVES:
        tuned = backbone + move * _weights(dice, BACKBONE)
        show(f"int8 fine-tune ({move:.2%})", _int8(backbone), _int8(tuned))
        show(f"fp32 fine-tune ({move:.2%})", backbone.tobytes(), tuned.tobytes())


def show(what: str, old: bytes, new: bytes) -> None:
    """One line; raises ValueError when the patch does not make the blob."""
    patch = made(old, new)
    if b"".join(applied(old, [patch])) != new:
        raise ValueError(f"the patch of {what} makes something else")
    share = len(patch) / len(new)
    print(f"{what:<24} whole {len(new):>9} bytes, patch {len(patch):>9} bytes ({share:.1%})")


def _weights(dice: np.random.Generator, count: int) -> Floats:
    return dice.normal(size=count).astype(np.float32)


def _bytes(*parts: Floats) -> bytes:
    return b"".join(part.tobytes() for part in parts)


def _int8(weights: Floats) -> bytes:
    return np.clip(np.round(weights / STEP), -128, 127).astype(np.int8).tobytes()


if __name__ == "__main__":
    main()
