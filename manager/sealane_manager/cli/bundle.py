"""`sealane bundle`: make, look at, verify and publish bundles, and bring them to registries."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from sealane.bundle.check import check_agent_layout, check_layout, read_deployment
from sealane.bundle.layout import read_layout
from sealane.bundle.manifest import AGENT_ARTIFACT
from sealane.bundle.types import Measure, Objective

from sealane_manager.bundle.engines import require
from sealane_manager.cli import bundle_release, producer, registry
from sealane_manager.cli.output import Format, OutputOption, emit, emit_one, reported

if TYPE_CHECKING:
    from sealane.bundle.types import Deployment, Manifest

    from sealane_manager.bundle.pack import Packed

app = typer.Typer(no_args_is_help=True, help="Make, look at, verify and publish bundles.")
bundle_release.add_to(app)

_Folder = Annotated[Path, typer.Argument(help="folder of the bundle (an OCI image layout)")]


ToleranceOption = Annotated[
    list[str] | None, typer.Option(help="VARIANT=ATOL:RTOL instead of the precision's own")
]
InstructionsOption = Annotated[
    list[str] | None,
    typer.Option(help="VARIANT=avx512,vnni: sets of instructions that it needs"),
]
BatchOption = Annotated[
    int,
    typer.Option(min=0, max=4096, help="rows of waiting requests for one call; 0: no joining"),
]
ObjectiveOption = Annotated[
    Measure, typer.Option(help="by what a device chooses: latency, throughput or memory")
]
WithinOption = Annotated[
    float,
    typer.Option(min=0, help="95 of 100 inferences take no longer, else others go first; 0: any"),
]


@app.command()
def pack(
    onnx: Annotated[Path, typer.Argument(help="the model, an .onnx file")],
    model: Annotated[str, typer.Option(help="what it is called: family/model")],
    out: Annotated[Path, typer.Option(help="new folder for the bundle")],
    data: Annotated[
        Path | None, typer.Option(help="typical inputs: .npz by input name, or .npy")
    ] = None,
    variant: Annotated[
        list[str] | None,
        typer.Option(help="NAME=PATH:RUNTIME:PRECISION[:ACCELERATOR], e.g. of an OpenVINO IR"),
    ] = None,
    tolerance: ToleranceOption = None,
    instructions: InstructionsOption = None,
    probation_seconds: Annotated[
        float | None, typer.Option(min=0, help="how long a device watches it before keeping it")
    ] = None,
    probation_requests: Annotated[
        int | None, typer.Option(min=0, help="requests it must have answered before it is kept")
    ] = None,
    sampling: Annotated[
        Path | None, typer.Option(help="JSON: what of its inputs may be kept; default: nothing")
    ] = None,
    agreement: Annotated[
        Path | None, typer.Option(help="JSON: when an output says what another release says")
    ] = None,
    label: Annotated[
        list[str] | None, typer.Option(help="name of a class; once for each, in order")
    ] = None,
    batch_rows: BatchOption = 0,
    objective: ObjectiveOption = Measure.LATENCY,
    within_ms: WithinOption = 0,
    sign_with: Annotated[
        Path | None, typer.Option(help="its producer's private key (PEM, P-256), signs all files")
    ] = None,
    passphrase_file: producer.PassphraseOption = None,
    output: OutputOption = Format.TABLE,
) -> None:
    """Make a bundle from a model and typical inputs; the same input gives the same digest."""
    with reported():
        require()
        from sealane_manager.bundle import pack as packing  # noqa: PLC0415 - needs the pack extra
        from sealane_manager.bundle import variants  # noqa: PLC0415 - the same

        order = packing.PackOrder(
            model=model,
            onnx=onnx,
            data=data,
            out=out,
            variants=tuple(variants.VariantSource.parse(text) for text in variant or ()),
            tolerance=dict(variants.parse_tolerance(text) for text in tolerance or ()),
            instructions=dict(variants.parse_instructions(text) for text in instructions or ()),
            probation=packing.probation_limits(probation_seconds, probation_requests),
            labels=tuple(label or ()),
            batch_rows=batch_rows,
            sampling=sampling,
            agreement=agreement,
            objective=Objective(objective, within_ms),
            key=producer.signing_key(sign_with, passphrase_file) if sign_with else None,
        )
        _emit_packed(packing.pack(order), out, output)


@app.command()
def inspect(folder: _Folder, output: OutputOption = Format.TABLE) -> None:
    """Show what a bundle says; its files are not hashed (see verify)."""
    with reported():
        manifest = read_layout(folder)
        deployment = read_deployment(folder, manifest)
        if output is Format.JSON:
            files = [asdict(layer) for layer in manifest.layers]
            contract = asdict(deployment)
            emit_one({"digest": manifest.digest, "files": files, "deployment": contract}, output)
            return
        emit_one(_summary(manifest, deployment), output)
        emit(
            [_variant_row(deployment, number) for number in range(len(deployment.variants))],
            ("variant", "runtime", "accelerator", "precision", "model", "tolerance"),
            output,
        )
        emit([asdict(layer) for layer in manifest.layers], ("path", "size", "digest"), output)


@app.command()
def verify(
    folder: _Folder,
    producer_key: Annotated[
        list[Path] | None, typer.Option(help="public key (PEM) of who may have signed; repeatable")
    ] = None,
    output: OutputOption = Format.TABLE,
) -> None:
    """Verify a bundle without a network: every digest, size and reference; who signed it."""
    with reported():
        if read_layout(folder).artifact == AGENT_ARTIFACT:
            agent, contract = check_agent_layout(folder)
            said = {"agent": contract.version, "arch": contract.arch, "digest": agent.digest}
            emit_one({**said, "verified": "yes"}, output)
            return
        manifest, deployment = check_layout(folder)
        signed = producer.judged(folder, manifest, producer_key or [])
        summary = _summary(manifest, deployment)
        emit_one(summary | {"producer": signed, "verified": "yes"}, output)


app.command()(producer.sign)
app.command()(producer.unpack)
app.command()(registry.push)
app.command()(registry.pull)


def _emit_packed(packed: Packed, out: Path, output: Format) -> None:
    rows = [
        {
            "variant": variant.name,
            "runtime": variant.runtime,
            "precision": variant.precision,
            "golden": f"off by {proof.deviation:.2g}" if not proof.reason else "not checked",
            "reason": proof.reason,
        }
        for variant, proof in zip(packed.deployment.variants, packed.proofs, strict=True)
    ]
    summary = {"folder": str(out), **_summary(packed.manifest, packed.deployment)}
    if output is Format.JSON:
        emit_one(summary | {"proofs": rows}, output)
        return
    emit_one(summary, output)
    emit(rows, ("variant", "runtime", "precision", "golden", "reason"), output)


def _summary(manifest: Manifest, deployment: Deployment) -> dict[str, Any]:
    return {
        "model": deployment.model,
        "digest": manifest.digest,
        "files": len(manifest.layers),
        "bytes": sum(layer.size for layer in manifest.layers),
        "inputs": ", ".join(f"{i.name} {i.datatype} {list(i.shape)}" for i in deployment.inputs),
        "outputs": ", ".join(f"{o.name} {o.datatype} {list(o.shape)}" for o in deployment.outputs),
        "variants": ", ".join(variant.name for variant in deployment.variants),
        "golden_rows": deployment.golden.rows,
        "objective": str(deployment.objective),
        "probation": f"{deployment.probation.seconds:g} s",
    }


def _variant_row(deployment: Deployment, number: int) -> dict[str, Any]:
    variant = deployment.variants[number]
    tolerance = (f"{name} {t.atol:g}+{t.rtol:g}·|x|" for name, t in variant.tolerance.items())
    return asdict(variant) | {"variant": variant.name, "tolerance": ", ".join(tolerance)}
