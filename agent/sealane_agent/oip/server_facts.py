"""What the endpoint says about itself on both doors."""

from __future__ import annotations

from importlib.metadata import version
from typing import Final

NAME: Final = "sealane"
VERSION: Final = version("sealane-agent")
EXTENSIONS: Final = ("binary_tensor_data", "model_repository_index")
