"""A real Prometheus scrapes a real manager, a receiver of OTLP is pushed to: both get the raw data.

Needs Debian's `prometheus` package, where CI does not skip; it is started by hand on loopback.
"""

from __future__ import annotations

import csv
import json
import random
import socket
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import pytest
from pyarrow import parquet
from sealane.clock import SystemClock
from sealane.names import ReleaseName, SlotName
from sealane.telemetry import names
from sealane.telemetry.codec import encode_windows
from sealane.telemetry.histogram import record
from sealane.telemetry.types import (
    Arm,
    ErrorKind,
    ModelWindow,
    TelemetryAck,
    TelemetryBatch,
    Timings,
    Window,
)
from sealane_manager.cli.main import app
from sealane_manager.metrics.push import Endpoint
from sealane_manager.people.access import Grant, Role
from sealane_manager.people.accounts import Accounts
from sealane_manager.rollout.types import RolloutSpec, Stage
from sealane_manager.store.store import open_store
from support.alerting import receiver
from support.debian import needs
from support.manager import SLOT, running_manager
from support.otlp import points, quantile, received_by
from typer.testing import CliRunner

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.alerting import Received
    from support.device import Device
    from support.manager import RunningManager
    from typer.testing import Result

pytestmark = pytest.mark.slow
RELEASE = "demo/tiny@1"
DICE = random.Random(5)  # noqa: S311 - made-up traffic
RAW = tuple(DICE.lognormvariate(8.0, 0.5) for _ in range(30_000))
"""Latencies in microseconds."""


@pytest.fixture(scope="module")
def collector() -> Iterator[Received]:
    with receiver() as received:
        yield received


@pytest.fixture(scope="module")
def manager(
    tmp_path_factory: pytest.TempPathFactory, collector: Received
) -> Iterator[RunningManager]:
    otlp = Endpoint(collector.address, timedelta(seconds=1))
    with running_manager(tmp_path_factory.mktemp("manager"), otlp=otlp) as running:
        manifest = running.publish(tmp_path_factory.mktemp("bundle"))
        assert manifest
        devices = [running.enrolled(f"box-{number}", {"site": "berlin"}) for number in range(3)]
        with running.operator() as operator:
            operator.create_rollout(a_rollout(), "to have a release in a slot")
        for number, device in enumerate(devices):
            report(device, RAW[number::3])
        yield running


def report(device: Device, latencies: tuple[float, ...]) -> None:
    """One device sends what it measured in two windows."""
    start = int(time.time()) // 60 * 60 - 120
    halves = (latencies[0::2], latencies[1::2])
    with device.session() as session:
        session.greet()
        for number, part in enumerate(halves, 1):
            body = encode_windows([Window(start + 60 * number - 60, 60, (model(part),))])
            answer = session.ask(TelemetryBatch("boot-1", number, body))
            while not isinstance(answer, TelemetryAck):
                answer = session.hear()


def model(latencies: tuple[float, ...]) -> ModelWindow:
    return ModelWindow(
        slot=SlotName(SLOT),
        release=RELEASE,
        arm=Arm.ACTIVE,
        requests=len(latencies),
        errors={ErrorKind.FAILED: 5},
        timings=Timings(latency=record(latencies)),
    )


def a_rollout() -> RolloutSpec:
    stages = (Stage(percent=100),)
    return RolloutSpec(ReleaseName.parse(RELEASE), SLOT, "site=berlin", stages, timedelta(0))


def exact(share: float) -> float:
    return sorted(RAW)[round(share * len(RAW)) - 1]


@pytest.fixture(scope="module")
def token(manager: RunningManager) -> str:
    store = open_store(manager.state.database)
    try:
        accounts = Accounts(store.accounts, SystemClock())
        return accounts.issue_token("scrape", Grant(Role.VIEWER), 1, "ada")
    finally:
        store.close()


def scrape(manager: RunningManager, token: str, accept: str = "*/*") -> tuple[int, bytes]:
    context = ssl.create_default_context(cafile=manager.state.ca / "ca.pem")
    address = f"https://{manager.addresses.dashboard}/metrics"
    headers = {"Authorization": f"Bearer {token}", "Accept": accept}
    request = urllib.request.Request(address, headers=headers)
    try:
        with urllib.request.urlopen(request, context=context) as answer:  # noqa: S310 - our own manager
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@contextmanager
def prometheus(manager: RunningManager, token: str, folder: Path, *features: str) -> Iterator[str]:
    """A running Prometheus that scrapes the manager; gives its address."""
    config = {
        "global": {"scrape_interval": "1s"},
        "scrape_configs": [
            {
                "job_name": "sealane",
                "scheme": "https",
                "authorization": {"credentials": token},
                "tls_config": {"ca_file": str(manager.state.ca / "ca.pem")},
                "static_configs": [{"targets": [manager.addresses.dashboard]}],
            }
        ],
    }
    (folder / "prometheus.yml").write_text(json.dumps(config))
    address = f"127.0.0.1:{free_port()}"
    options = (
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address={address}",
        *(f"--enable-feature={feature}" for feature in features),
    )
    with (folder / "log").open("w") as log:
        process = subprocess.Popen([needs("prometheus"), *options], stderr=log, stdout=log)
        try:
            yield f"http://{address}"
        finally:
            process.terminate()
            process.wait(20)


def ask(address: str, query: str) -> dict[str, Any] | None:
    """The first series of an answer."""
    try:
        with urllib.request.urlopen(f"{address}/api/v1/query?{urlencode({'query': query})}") as got:  # noqa: S310 - loopback
            result = json.load(got)["data"]["result"]
    except (urllib.error.URLError, ConnectionError):
        return None
    return dict(result[0]) if result else None


def value(address: str, query: str) -> float:
    """The first answer of a query, when there is one."""
    deadline = time.monotonic() + 60
    while (found := ask(address, query)) is None:
        assert time.monotonic() < deadline, f"no answer to {query}"
        time.sleep(0.2)
    return float(found["value"][1])


def test_nobody_reads_metrics_without_a_token(manager: RunningManager, token: str) -> None:
    assert scrape(manager, "")[0] == 401
    assert scrape(manager, "slk_wrong")[0] == 401
    assert scrape(manager, token)[0] == 200


def test_promtool_finds_nothing_wrong_but_the_unit(manager: RunningManager, token: str) -> None:
    _, page = scrape(manager, token)

    checked = subprocess.run(
        [needs("promtool"), "check", "metrics"], input=page, capture_output=True, check=False
    )

    complaints = (checked.stderr + checked.stdout).decode().splitlines()
    assert [each for each in complaints if "microseconds" not in each] == []


def test_native_histograms_give_the_quantiles_of_the_raw_data(
    manager: RunningManager, token: str, tmp_path: Path
) -> None:
    with prometheus(manager, token, tmp_path, "native-histograms") as address:
        count = value(address, f"histogram_count(sum({names.LATENCY}))")
        assert count == len(RAW)
        for share in (0.5, 0.9, 0.99):
            found = value(address, f"histogram_quantile({share}, sum({names.LATENCY}))")
            assert found == pytest.approx(exact(share), rel=0.01)


def test_classic_histograms_give_the_quantiles_within_a_bucket(
    manager: RunningManager, token: str, tmp_path: Path
) -> None:
    with prometheus(manager, token, tmp_path) as address:
        assert value(address, f"sum({names.REQUESTS})") == len(RAW)
        assert value(address, f'sum({names.ERRORS}{{kind="failed"}})') == 30
        assert value(address, f'{names.DEVICES}{{status="online"}} or on() vector(0)') == 0
        for share in (0.5, 0.9, 0.99):
            query = f"histogram_quantile({share}, sum by (le) ({names.LATENCY}_bucket))"
            assert value(address, query) == pytest.approx(exact(share), rel=0.05)


def test_what_is_pushed_over_otlp_is_what_is_scraped_and_what_was_measured(
    manager: RunningManager, token: str, collector: Received
) -> None:
    cohort = f'arm="active",model="demo/tiny",release="{RELEASE}",slot="{SLOT}"'
    deadline = time.monotonic() + 60
    while (found := last_push(collector)).get((names.REQUESTS, cohort)) != len(RAW):
        assert time.monotonic() < deadline, "nothing was pushed"
        time.sleep(0.2)

    _, page = scrape(manager, token)
    assert f"{names.REQUESTS}{{{cohort}}} {len(RAW)}\n" in page.decode()
    assert found[names.ERRORS, f'{cohort},kind="failed"'] == 30
    point = found[names.LATENCY, cohort]
    assert not isinstance(point, float)
    assert f"{names.LATENCY}_sum{{{cohort}}} {point.sum:.0f}\n" in page.decode()
    assert point.count == len(RAW)
    for share in (0.5, 0.9, 0.99):
        assert quantile(point, share) == pytest.approx(exact(share), rel=0.01)


def last_push(collector: Received) -> dict[tuple[str, str], Any]:
    return dict(points(received_by(collector.posts[-1][2]))) if collector.posts else {}


def test_an_export_holds_what_was_measured(manager: RunningManager, tmp_path: Path) -> None:
    files = {form: tmp_path / f"all.{form}" for form in ("csv", "parquet")}
    for form, file in files.items():
        assert exported(manager, str(file), "--format", form).exit_code == 0
    with files["csv"].open(newline="") as content:
        rows = list(csv.DictReader(content))

    assert sum(int(row["requests"]) for row in rows) == len(RAW)
    assert {row["device"] for row in rows} == {"box-0", "box-1", "box-2"}
    assert len(rows) == 6
    assert [row["latency_us_p99"] for row in rows] == [
        str(row["latency_us_p99"]) for row in parquet.read_table(files["parquet"]).to_pylist()
    ]

    assert exported(manager, str(files["csv"]), "--of", "cohorts").exit_code == 0
    with files["csv"].open(newline="") as content:
        cohorts = list(csv.DictReader(content))
    by_site = {site: [row for row in cohorts if row["site"] == site] for site in ("", "berlin")}
    for found in by_site.values():
        assert sum(int(row["requests"]) for row in found) == len(RAW)
        assert {row["release"] for row in found} == {RELEASE}


def test_an_export_is_of_the_devices_that_are_chosen(
    manager: RunningManager, tmp_path: Path
) -> None:
    file = tmp_path / "none.csv"
    assert "0 rows" in exported(manager, str(file), "--selector", "site=lyon").output
    assert "0 rows" in exported(manager, str(file), "--until", "2026-01-01").output
    assert exported(manager, str(file), "--selector", "site in (").exit_code == 1
    assert exported(manager, str(file), "--since", "yesterday").exit_code == 2


def exported(manager: RunningManager, *arguments: str) -> Result:
    environment = {"SEALANE_CONTEXT": str(manager.state.operator)}
    return CliRunner().invoke(app, ["export", "telemetry", *arguments], env=environment)
