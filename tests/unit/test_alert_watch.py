"""From a sick fleet to people: one outbox, retries that end, signed webhooks, mail."""

from __future__ import annotations

import hashlib
import hmac
import json
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sealane.failure import Failure, FailureKind
from sealane.fleet import SlotReport
from sealane.names import DeviceId, SlotName
from sealane_manager.alerts import messages
from sealane_manager.alerts.channels import Alertmanager, Mail, Webhook, load
from sealane_manager.alerts.types import AlertFilter, AlertState
from sealane_manager.alerts.watch import Watch, Watched
from sealane_manager.errors import NotKnown, Refused, Unreachable
from sealane_manager.store.alerts import DEAD, SENT, WAITING, new_silence
from sealane_manager.store.records import By
from support.alerting import FakeChannel, receiver
from support.rollouts import START
from support.stores import a_store, enrol

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sealane_manager.alerts.channels import Channel
    from sealane_manager.store.store import Store

ADA = By("ada", "on my way", START + timedelta(minutes=5))
BOX = DeviceId("box-1")
FAILED = SlotReport(
    SlotName("cam"),
    "failed",
    attempt_release="vision/defect@7",
    failure=Failure(FailureKind.PERMANENT, "staged", "runtime", "x", "it does not load"),
)


@pytest.fixture
def store() -> Iterator[Store]:
    with a_store() as opened:
        enrol(opened, "box-1", site="berlin")
        yield opened


@pytest.fixture
def people() -> FakeChannel:
    return FakeChannel()


@pytest.fixture
def watch(store: Store, people: FakeChannel) -> Watch:
    watched = Watched("demo", "https://m:8443", 10.0, lambda: frozenset({"box-1"}))
    return Watch(store, watched, [people])


def test_people_are_told_of_a_slot_that_stays_degraded(
    store: Store, watch: Watch, people: FakeChannel
) -> None:
    weak = SlotReport(SlotName("cam"), "committed", degraded="no driver answers")
    store.devices.report(BOX, [weak], START)
    watch.look(START)
    assert watch.deliver(START) == 0
    later = START + timedelta(minutes=6)
    watch.look(later)
    assert watch.deliver(later) == 1
    assert people.told[0]["rule"] == "degraded"


def test_people_are_told_of_a_failed_slot_and_of_its_end(
    store: Store, watch: Watch, people: FakeChannel
) -> None:
    store.devices.report(BOX, [FAILED], START)
    watch.look(START)
    assert watch.deliver(START) == 1

    store.devices.report(BOX, [SlotReport(SlotName("cam"), "committed")], START)
    watch.look(START + timedelta(minutes=2))
    assert watch.deliver(START + timedelta(minutes=2)) == 1

    first, second = people.told
    assert (first["rule"], first["status"], first["site"]) == (
        "activation_failed",
        "open",
        "berlin",
    )
    assert "it does not load" in first["headline"]
    assert first["address"] == "https://m:8443/alerts"
    assert second["status"] == "resolved"
    assert [each.state for each in store.alerts.deliveries()] == [SENT, SENT]


def test_nobody_is_told_of_a_silent_device_right_after_the_start(
    store: Store, people: FakeChannel
) -> None:
    watched = Watched("demo", "", 10.0, frozenset)
    watch = Watch(store, watched, [people])
    store.devices.seen(BOX, START - timedelta(days=1))

    for second in range(0, 90, 15):
        watch.look(START + timedelta(seconds=second))
    assert store.alerts.list() == ()

    watch.look(START + timedelta(seconds=120))
    assert [alert.finding.rule for alert in store.alerts.list()] == ["silent"]


def test_a_delivery_that_fails_is_tried_again_and_given_up_at_last(
    store: Store, watch: Watch, people: FakeChannel
) -> None:
    people.broken = True
    store.devices.report(BOX, [FAILED], START)
    watch.look(START)
    now = START
    for _ in range(messages.TRIES):
        (waiting,) = store.alerts.deliveries()
        assert waiting.state == WAITING
        now = waiting.next_try
        watch.deliver(now)
        assert watch.deliver(now) == 0

    (dead,) = store.alerts.deliveries()
    assert (dead.state, dead.tries) == (DEAD, messages.TRIES)
    assert "nobody at home" in dead.problem
    assert timedelta(hours=5) < now - START < timedelta(hours=24)


def test_a_channel_that_is_gone_makes_no_delivery_wait(store: Store, watch: Watch) -> None:
    store.devices.report(BOX, [FAILED], START)
    watch.look(START)

    Watch(store, Watched("demo", "", 10.0, frozenset), []).deliver(START)

    assert store.alerts.deliveries()[0].state == DEAD


def test_an_alert_is_acknowledged_in_somebodys_name(store: Store, watch: Watch) -> None:
    store.devices.report(BOX, [FAILED], START)
    watch.look(START)

    alert = store.alerts.acknowledge("activation_failed", "box-1/cam", ADA)

    assert (alert.state, alert.by) == (AlertState.ACKNOWLEDGED, "ada")
    assert store.alerts.list() == (alert,)
    assert store.alerts.counts() == {("activation_failed", "warning"): 1}
    assert store.decisions.of("")[-1].action == "acknowledge"
    with pytest.raises(NotKnown, match="no alert disk"):
        store.alerts.acknowledge("disk", "box-1", ADA)


def test_a_silence_has_an_owner_and_an_end(store: Store, watch: Watch, people: FakeChannel) -> None:
    silence = new_silence("", "berlin", "", START + timedelta(hours=1))
    told = store.alerts.silence(silence, replace(ADA, at=START))
    assert (told.by, told.reason) == (ADA.actor, ADA.reason)
    store.devices.report(BOX, [FAILED], START)
    watch.look(START)
    assert watch.deliver(START) == 0
    assert [each.by for each in store.alerts.silences(START)] == ["ada"]

    store.alerts.end_silence(silence.id, ADA)
    watch.look(START + timedelta(seconds=15))
    assert watch.deliver(START + timedelta(seconds=15)) == 1
    assert people.told[0]["rule"] == "activation_failed"


@pytest.mark.parametrize(
    ("rule", "minutes", "why"), [("", 10, "names a rule"), ("disk", 0, "ends in the future")]
)
def test_a_silence_without_a_target_or_an_end_is_refused(
    store: Store, rule: str, minutes: int, why: str
) -> None:
    silence = new_silence(rule, "", "", ADA.at + timedelta(minutes=minutes))
    with pytest.raises(Refused, match=why):
        store.alerts.silence(silence, ADA)


def test_alerts_are_found_by_what_they_say(store: Store, watch: Watch) -> None:
    store.devices.report(BOX, [FAILED], START)
    watch.look(START)

    assert len(store.alerts.list(AlertFilter(site="berlin", text="not load"))) == 1
    assert store.alerts.list(AlertFilter(severity="critical")) == ()
    assert store.alerts.list(AlertFilter(states=(AlertState.RESOLVED,))) == ()


def test_old_deliveries_are_forgotten(store: Store, watch: Watch) -> None:
    store.devices.report(BOX, [FAILED], START)
    watch.look(START)
    watch.tidy(START + timedelta(days=31))
    assert store.alerts.deliveries() == ()


CONTENT: dict[str, Any] = {
    "fleet": "demo",
    "rule": "disk",
    "site": "berlin",
    "severity": "warning",
    "status": "open",
    "headline": "the disk of box-1\nis full",
    "address": "https://m:8443/alerts",
    "count": 3,
    "alerts": [{"subject": "box-1", "text": "full", "since": START.isoformat(), "ended": None}],
}


def test_a_webhook_is_signed_over_its_moment_and_its_body() -> None:
    with receiver() as received:
        Webhook("ops", received.address + "/hook", "a secret of ours").send("d-1", CONTENT, START)

    ((path, headers, body),) = received.posts
    moment, found = (part[2:] for part in headers["Sealane-Signature"].split(","))
    expected = hmac.new(b"a secret of ours", f"{moment}.".encode() + body, hashlib.sha256)
    assert (path, headers["Sealane-Delivery"]) == ("/hook", "d-1")
    assert found[1:] == expected.hexdigest()
    assert json.loads(body)["id"] == "d-1"


@pytest.mark.parametrize("status", [302, 404, 500])
def test_an_answer_that_is_no_success_is_a_failure(status: int) -> None:
    with receiver() as received:
        received.status = status
        with pytest.raises(Unreachable, match=str(status)):
            Webhook("ops", received.address, "a secret of ours").send("d-1", CONTENT, START)
    assert len(received.posts) == 1


def test_a_receiver_that_is_away_is_a_failure() -> None:
    with receiver() as received:
        address = received.address
    with pytest.raises(Unreachable, match="cannot be reached"):
        Alertmanager("am", address).send("d-1", CONTENT, START)


def test_alertmanager_gets_an_alert_for_each_subject() -> None:
    with receiver() as received:
        Alertmanager("am", received.address + "/").send("d-1", CONTENT, START)

    ((path, _, body),) = received.posts
    (alert,) = json.loads(body)
    assert path == "/api/v2/alerts"
    assert alert["labels"] == {
        "alertname": "sealane_disk",
        "fleet": "demo",
        "severity": "warning",
        "site": "berlin",
        "subject": "box-1",
    }
    assert alert["endsAt"] > alert["startsAt"]


def test_mail_has_one_line_as_its_subject_and_counts_what_it_does_not_name() -> None:
    subject, text = messages.mail(CONTENT)
    assert subject == "[demo] warning: the disk of box-1 is full"
    assert "- and 2 more" in text


def test_a_mail_server_that_is_away_is_a_failure() -> None:
    with receiver() as received:
        port = int(received.address.rpartition(":")[2])
    with pytest.raises(Unreachable, match="mail by"):
        Mail("m", "127.0.0.1", port, "a@b.example", ("c@d.example",)).send("d-1", CONTENT, START)


def a_service(tmp_path: Path, url: str) -> Channel:
    path = tmp_path / "alerts.json"
    path.write_text(json.dumps({"apprise": [{"name": "chat", "url": url}]}))
    (service,) = load(path)
    return service


def test_a_service_that_apprise_knows_gets_the_text_of_a_mail(tmp_path: Path) -> None:
    with receiver() as received:
        service = a_service(tmp_path, received.address.replace("http", "json") + "/line")
        service.send("d-1", CONTENT, START)

    ((path, _, body),) = received.posts
    told = json.loads(body)
    assert (service.name, path) == ("chat", "/line")
    assert told["title"] == "[demo] warning: the disk of box-1 is full"
    assert "- and 2 more" in told["message"]


def test_a_service_that_does_not_take_it_is_a_failure_that_shows_no_secret(tmp_path: Path) -> None:
    with receiver() as received:
        received.status = 500
        service = a_service(tmp_path, received.address.replace("http://", "json://me:secret@"))
        with pytest.raises(Unreachable, match="chat did not take it") as failed:
            service.send("d-1", CONTENT, START)
    assert "secret" not in str(failed.value)


def test_an_address_that_apprise_does_not_know_is_refused_without_being_shown(
    tmp_path: Path,
) -> None:
    with pytest.raises(Refused, match="kind of address that chat has") as refused:
        a_service(tmp_path, "nowhere://secret")
    assert "secret" not in str(refused.value)


def test_channels_are_read_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "alerts.json"
    assert load(path) == ()
    path.write_text(
        json.dumps(
            {
                "webhooks": [{"name": "ops", "url": "https://x", "secret": "0123456789abcdef"}],
                "alertmanagers": [{"name": "am", "url": "http://y"}],
                "mail": [{"name": "m", "host": "h", "from": "a@b", "to": ["c@d"]}],
            }
        )
    )
    assert [channel.name for channel in load(path)] == ["ops", "am", "m"]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("{", "line 1 column 2"),
        ("[]", "of another kind"),
        ('{"webhooks": [{"name": "ops"}]}', "lacks 'secret'"),
        (
            '{"webhooks": [{"name": "ops", "url": "https://x", "secret": "short"}]}',
            "the secret of ops needs 16 characters",
        ),
        ('{"webhooks": [7]}', "of another kind"),
        ('{"webhook": []}', "'webhook' means nothing there; known are webhooks"),
        ('{"mail": [{"name": "m", "host": "h", "from": "a@b", "to": "c@d"}]}', "of another kind"),
        ('{"alertmanagers": [{"name": "am", "url": "file:///etc/passwd"}]}', "no address"),
        (
            '{"alertmanagers": [{"name": "a", "url": "http://x"}, {"name": "a", "url": "http://y"}]}',
            "the same name",
        ),
    ],
)
def test_a_file_of_channels_that_is_wrong_is_refused_in_words(
    tmp_path: Path, content: str, why: str
) -> None:
    path = tmp_path / "alerts.json"
    path.write_text(content)
    with pytest.raises(Refused, match=why) as refused:
        load(path)
    assert "Error(" not in str(refused.value)
