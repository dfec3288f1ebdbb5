"""`sealane`: the operator's command line; one noun a file."""

from __future__ import annotations

import typer

from sealane_manager.cli import (
    agent,
    alert,
    apply,
    audit,
    authority,
    backup,
    bundle,
    configured,
    device,
    export,
    gate,
    init,
    quarantine,
    release,
    rollout,
    sample,
    serve,
    trust,
    user,
    window,
)

app = typer.Typer(
    name="sealane",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Brings machine-learning models to devices: signed, in stages, and back.",
)
app.command("init")(init.command)
app.command("serve")(serve.command)
app.command("apply")(apply.apply)
app.command("diff")(apply.diff)
app.command("backup")(backup.backup)
app.command("restore")(backup.restore)
app.command("check-config")(configured.check)
app.add_typer(device.app, name="device")
app.add_typer(bundle.app, name="bundle")
app.add_typer(agent.app, name="agent")
app.add_typer(release.app, name="release")
app.add_typer(rollout.app, name="rollout")
app.add_typer(quarantine.app, name="quarantine")
app.add_typer(gate.app, name="gate")
app.add_typer(alert.app, name="alert")
app.add_typer(audit.app, name="audit")
app.add_typer(authority.app, name="authority")
app.add_typer(sample.app, name="sample")
app.add_typer(export.app, name="export")
app.add_typer(trust.app, name="trust")
app.add_typer(user.app, name="user")
app.add_typer(window.app, name="window")


def main() -> None:
    """Run the command line."""
    app()
