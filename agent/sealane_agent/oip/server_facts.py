"""What the endpoint says about itself on both doors."""

from __future__ import annotations

from importlib.metadata import version
from typing import Final

NAME: Final = "sealane"
VERSION: Final = version("sealane-agent")
EXTENSIONS: Final = (
    "binary_tensor_data",
    "classification",
    "model_configuration",
    "model_repository",
    "model_repository(unload_dependents)",
    "parameters",
    "schedule_policy",
    "statistics",
    "system_shared_memory",
    "trace",
    "logging",
)
