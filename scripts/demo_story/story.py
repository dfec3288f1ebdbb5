"""What `scripts/demo` shows, step by step, and what must be true at the end of it."""

from __future__ import annotations

import signal
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from demo_story import report
from demo_story.models import Models, make_models
from demo_story.plant import MODEL, SLOT, Plant, let_answer
from demo_story.processes import BIN

if TYPE_CHECKING:
    from pathlib import Path

SITES = ("berlin", "berlin", "lyon", "lyon", "porto")


@dataclass(frozen=True, slots=True)
class Outcome:
    """One rollout that was run: what it ended as, why, and how long it took."""

    release: str
    state: str
    reason: str
    seconds: float
    reached: int = 0
    devices: int = 0


class Story:
    """Five devices, four releases, two of them bad."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.began = time.monotonic()
        self.console = Console(highlight=False, soft_wrap=True)
        self.plant = Plant(folder)
        self.devices = [f"box-{number}" for number in range(1, len(SITES) + 1)]
        self.outcomes: list[Outcome] = []
        self.layouts: dict[int, Path] = {}

    def say(self, text: str) -> None:
        """One line with the time since the beginning."""
        self.console.print(f"[dim]{time.monotonic() - self.began:6.1f} s[/]  {text}")

    def run(self) -> list[str]:
        """Tell the story; returns what was not as it should be."""
        models = self._train()
        self._start_manager()
        self._pack(models)
        for device, site in zip(self.devices, SITES, strict=True):
            self._start_device(device, site)
        self.plant.wait_connected(len(self.devices))
        self.say("all devices hold a session")
        self._roll_out(1, "100%")
        self._start_traffic(models)
        self._roll_out(2, "1,40%,100%")
        self._kill_a_worker()
        self._roll_out(3, "1,40%,100%")
        self._tamper(4)
        self._roll_out(4, "1,40%,100%")
        let_answer(2.0)
        return self._close()

    def keep(self) -> None:
        """Leave everything running until Ctrl-C."""
        context = self.plant.state / "operator"
        self.say(f"[bold]left running[/] in {self.folder}")
        password = self.plant.add_user("demo", "admin")
        self.say(f"dashboard: {self.plant.dashboard} as demo, password {password}")
        self.say(f"its certificate is signed by {self.plant.state / 'ca' / 'ca.pem'}")
        self.say(f"try: SEALANE_CONTEXT={context} {BIN}/sealane rollout list")
        for device in self.devices:
            address = self.plant.endpoint(device)["rest"]
            self.say(f"{device} answers at http://{address}/v2/models/{SLOT}")
        self.say("Ctrl-C ends it and removes the folder")
        signal.pause()

    def stop(self) -> None:
        """Stop every process."""
        self.plant.stop()

    def _train(self) -> Models:
        self.say("training four classifiers on the handwritten digits of scikit-learn")
        return make_models(self.folder / "models")

    def _start_manager(self) -> None:
        self.say("[bold]sealane init[/] and [bold]sealane serve[/]")
        self.plant.init()
        self.plant.start_manager()

    def _pack(self, models: Models) -> None:
        self.say("packing, signing and publishing four releases")
        for version, release in models.releases.items():
            variants = [f"--variant={text}" for text in release.variants]
            watched = ["--probation-seconds", "4"]
            if version > 1:  # the first release begins before anybody asks anything
                watched += ["--probation-requests", "30"]
            layout = self.plant.pack(release.onnx, release.data, *variants, *watched)
            self.plant.publish(layout, version)
            self.layouts[version] = layout

    def _start_device(self, device: str, site: str) -> None:
        self.plant.enrol(device, f"site={site}")
        self.plant.start_agent(device)
        self.say(f"{device} in {site}: enrolled and started")

    def _start_traffic(self, models: Models) -> None:
        self.plant.start_traffic(models.traffic, self.devices)
        self.say("the stock client now sends real digits to every device, all the time")

    def _roll_out(self, version: int, stages: str) -> None:
        release = f"{MODEL}@{version}"
        began = time.monotonic()
        self.say(f"[bold]rolling out {release}[/] in stages {stages}")
        rollout = self.plant.start_rollout(version, stages, "--soak", "2s", "--max-failed", "0")
        for line in self.plant.processes.lines("rollout", "watch", rollout):
            self.say(f"  {escape(line)}")
        shown = self.plant.rollout(rollout)
        reached = sum(device["state"] not in ("waiting", "skipped") for device in shown["devices"])
        took = time.monotonic() - began
        outcome = Outcome(release, shown["state"], shown["reason"], took)
        self.outcomes.append(replace(outcome, reached=reached, devices=len(shown["devices"])))

    def _kill_a_worker(self) -> None:
        device = self.devices[-1]
        before = len(self._requests())
        worker = self.plant.worker(device)
        worker.send_signal(signal.SIGSEGV)
        self.say(f"[bold]SIGSEGV[/] to the serving worker of {device} (pid {worker.pid})")
        let_answer(3.0)
        since = self._requests()[before:]
        self.say(f"{len(since)} requests since, {len(report.failed(since))} of them failed")

    def _tamper(self, version: int) -> None:
        self.plant.tamper(self.layouts[version])
        self.say(f"[bold]one bit changed[/] in the stored model of {MODEL}@{version}")

    def _requests(self) -> list[report.Request]:
        log = self.folder / "traffic.csv"
        return report.read_requests(log) if log.exists() else []

    def _close(self) -> list[str]:
        requests = self._requests()
        self._print_requests(requests)
        self._print_rollouts(requests)
        return self._complaints(requests)

    def _print_requests(self, requests: list[report.Request]) -> None:
        table = Table("release", "answers", "wrong", "p50 ms", "p99 ms", title="\nrequests")
        for version, answers, wrong, p50, p99 in report.release_rows(requests):
            name = f"{MODEL}@{version}"
            table.add_row(name, str(answers), str(wrong), f"{p50:.1f}", f"{p99:.1f}")
        table.add_section()
        table.add_row("sent", str(len(requests)), "", "", "")
        table.add_row("failed", str(len(report.failed(requests))), "", "", "")
        self.console.print(table)

    def _print_rollouts(self, requests: list[report.Request]) -> None:
        table = Table("rollout", "ended", "reached", "seconds", title="\nrollouts")
        for outcome in self.outcomes:
            reached = f"{outcome.reached} of {outcome.devices}"
            table.add_row(outcome.release, outcome.state, reached, f"{outcome.seconds:.0f}")
        self.console.print(table)
        for outcome in self.outcomes:
            self.console.print(f"{outcome.release} {outcome.state}: {escape(outcome.reason)}")
        swaps = report.find_swaps(requests)
        gaps = sorted(swap.gap_ms for swap in swaps)
        if gaps:
            usual = sorted(swap.usual_ms for swap in swaps)[len(swaps) // 2]
            self.console.print(
                f"{len(gaps)} swaps under requests; longest time without an answer around a swap: "
                f"median {gaps[len(gaps) // 2]:.0f} ms, worst {gaps[-1]:.0f} ms "
                f"(usual distance of two answers {usual:.0f} ms)"
            )

    def _complaints(self, requests: list[report.Request]) -> list[str]:
        failed = report.failed(requests)
        wrong = [request for request in requests if request.outcome == "wrong"]
        states = [run.state for run in self.outcomes]
        answered = {request.version for request in requests[-50:]}
        checks = {
            f"{len(failed)} requests failed, the first: {failed[:1]}": not failed,
            f"{len(wrong)} answers were wrong": not wrong,
            "no requests were sent": bool(requests),
            f"rollouts ended as {states}": states
            == ["succeeded", "succeeded", "reverted", "reverted"],
            "v3 left its first stage": self.outcomes[2].reached == 1,
            f"at the end {answered} answered instead of release 2": answered == {"2"},
            "v4 answered a request": all(request.version != "4" for request in requests),
        }
        return [complaint for complaint, holds in checks.items() if not holds]
