"""Options that may also stand in the configuration file or the environment."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

from sealane_agent.config import AGENT

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sealane.settings import Value


def add_config(parser: argparse.ArgumentParser) -> None:
    """Add `--config`."""
    parser.add_argument(
        "--config",
        type=Path,
        help=f"configuration file (environment {AGENT.file_variable}, default {AGENT.file})",
    )


def add_option(parser: argparse.ArgumentParser, option: str, name: str) -> None:
    """Add an option that overrules one key of the configuration."""
    key = next(key for key in AGENT.keys if key.name == name)
    word = name.rpartition(".")[2].upper()
    said = f"{key.says} (default {key.default})"

    def checked(text: str) -> str:
        if complaint := key.complaint(text):
            raise argparse.ArgumentTypeError(complaint)
        return text

    parser.add_argument(option, dest=name, metavar=word, help=said, type=checked)


def configured(arguments: argparse.Namespace) -> Mapping[str, Value]:
    """Every key's value; raises ConfigurationError."""
    given = {
        key.name: value
        for key in AGENT.keys
        if (value := getattr(arguments, key.name, None)) is not None
    }
    return AGENT.load(arguments.config, os.environ) | given
