"""What the endpoint says about itself on both doors."""

from __future__ import annotations

from typing import Final

from sealane_agent.packages import agent_version

NAME: Final = "sealane"
VERSION: Final = agent_version()
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
