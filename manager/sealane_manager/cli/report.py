"""`sealane rollout report`: one page that explains a rollout to whoever was not there."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from sealane_manager.cli.context import ContextOption, connect
from sealane_manager.cli.output import reported
from sealane_manager.report.contents import report as contents
from sealane_manager.report.page import page

PageOption = Annotated[
    Path, typer.Option("--output", "-o", help="where to write; replaced when it is there")
]


def report(
    rollout: str, output: PageOption = Path("report.html"), context: ContextOption = None
) -> None:
    """Write what happened, who did it, why and on which evidence, as one page of HTML.

    It needs nothing beside it, and can be printed.
    """
    with reported(), connect(context) as manager:
        found = manager.get_rollout(rollout)
        judgements = manager.judgements(rollout)
        text = page(contents(found, judgements), datetime.now(UTC))
        output.write_text(text, encoding="utf-8")
    typer.echo(f"wrote {output}")
