"""OpenSSF's own tool and Sealane accept each other's signatures, and refuse the same changes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from sealane.bundle.layout import blob_path, read_layout
from sealane.fileio import replace
from sealane_agent.layout import StateFolder
from sealane_agent.store import Store
from sealane_manager.cli.main import app
from support.bundles import tiny_bundle
from support.signed import ACME, RIVAL, private, public, signed_bundle
from support.stock_signing import StockSigning, install
from typer.testing import CliRunner

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow

RUNNER = CliRunner()


@pytest.fixture(scope="module")
def stock(tmp_path_factory: pytest.TempPathFactory) -> StockSigning:
    return install(tmp_path_factory.mktemp("stock") / "environment")


def key_files(folder: Path, key: ec.EllipticCurvePrivateKey) -> tuple[Path, Path]:
    """A producer's private and public key, as files."""
    paths = folder / "producer.key", folder / "producer.pem"
    for path, content in zip(paths, (private(key), public(key)), strict=True):
        path.write_bytes(content)
    return paths


def sealane(*arguments: object) -> str:
    done = RUNNER.invoke(app, ["bundle", *map(str, arguments)])
    assert done.exit_code == 0, done.stderr
    return done.stdout


def deployed(layout: Path, folder: Path) -> Path:
    """The folder that a device makes of a bundle, with the agent's own store."""
    manifest = read_layout(layout)
    state = StateFolder(folder)
    store = Store(state)
    for layer in manifest.layers:
        replace(state.blob(layer.digest), blob_path(layout, layer.digest).read_bytes())
    return store.view(manifest.digest, manifest.layers)


@pytest.mark.parametrize("curve", [ec.SECP256R1(), ec.SECP521R1()])
def test_the_stock_tool_accepts_our_signature_on_a_deployed_folder(
    curve: ec.EllipticCurve, stock: StockSigning, tmp_path: Path
) -> None:
    key, pem = key_files(tmp_path, ec.generate_private_key(curve))
    signed = tmp_path / "signed"
    sealane("sign", tiny_bundle(tmp_path / "bundle"), "--key", key, "--out", signed)
    folder = deployed(signed, tmp_path / "device")
    assert (folder / "model.sig").is_file()
    assert stock.accepts(folder, pem)


def test_we_accept_the_stock_tools_signature(stock: StockSigning, tmp_path: Path) -> None:
    key, pem = key_files(tmp_path, ACME)
    bundle, files = tiny_bundle(tmp_path / "bundle"), tmp_path / "files"
    sealane("unpack", bundle, "--out", files)
    signature = stock.sign(files, key)
    sealane("sign", bundle, "--attach", signature, "--out", tmp_path / "signed")
    said = sealane("verify", tmp_path / "signed", "--producer-key", pem)
    assert "producer.pem, key " in said
    assert stock.accepts(deployed(tmp_path / "signed", tmp_path / "device"), pem)


def test_both_refuse_another_key(stock: StockSigning, tmp_path: Path) -> None:
    _, pem = key_files(tmp_path, RIVAL)
    bundle = signed_bundle(tmp_path / "bundle", ACME)
    assert not stock.accepts(deployed(bundle, tmp_path / "device"), pem)
    done = RUNNER.invoke(app, ["bundle", "verify", str(bundle), "--producer-key", str(pem)])
    assert done.exit_code == 3
    assert "was not made by producer.pem" in done.stderr


def test_the_stock_tool_notices_a_file_that_is_added_to_a_deployed_folder(
    stock: StockSigning, tmp_path: Path
) -> None:
    _, pem = key_files(tmp_path, ACME)
    folder = tmp_path / "files"
    sealane("unpack", signed_bundle(tmp_path / "bundle"), "--out", folder)
    (folder / "extra.bin").write_bytes(b"x")
    assert not stock.accepts(folder, pem)
    (folder / "extra.bin").unlink()
    assert stock.accepts(folder, pem)
