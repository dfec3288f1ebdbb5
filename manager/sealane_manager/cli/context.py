"""Which manager a command talks to: an operator's context folder."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from sealane_manager.client import Operator
from sealane_manager.layout import StateFolder

ContextOption = Annotated[
    Path | None,
    typer.Option(
        "--context",
        envvar="SEALANE_CONTEXT",
        help="Operator context folder; default $SEALANE_STATE/operator, else ~/.config/sealane.",
        show_default=False,
    ),
]


def context_folder(context: Path | None) -> Path:
    """The folder that `--context`, the environment or the user's configuration names."""
    if context:
        return context
    if state := os.environ.get("SEALANE_STATE"):
        return StateFolder(Path(state)).operator
    configuration = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(configuration) / "sealane"


def connect(context: Path | None) -> Operator:
    """The manager of that context; raises SealaneError when there is none."""
    return Operator(context_folder(context))
