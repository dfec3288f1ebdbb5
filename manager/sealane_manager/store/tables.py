"""The tables of control.db: counters have 64 bits, words are strings, moments are aware, in UTC."""

from __future__ import annotations

from datetime import datetime  # noqa: TC003 - SQLModel reads the annotations at run time
from typing import Any, ClassVar, Final

from sqlalchemy import JSON, BigInteger, Index, Integer, MetaData
from sqlmodel import Field, SQLModel

metadata: Final = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

_RowId: Final = BigInteger().with_variant(Integer, "sqlite")


class Table(SQLModel):
    """What every table shares: one metadata with names that migrations can rely on."""

    metadata = metadata
    __table_args__: ClassVar[Any] = ()


class JoinTokenRow(Table, table=True):
    """A join token; the secret itself is never stored."""

    __tablename__ = "join_token"

    id: str = Field(primary_key=True)
    secret_sha256: bytes
    labels: dict[str, str] = Field(sa_type=JSON)
    uses_left: int = Field(sa_type=BigInteger)
    expires_at: datetime
    issued_at: datetime
    issued_by: str
    approval: bool = False


class TokenUseRow(Table, table=True):
    """Which key used which token, so that the same machine may ask again."""

    __tablename__ = "token_use"

    token: str = Field(primary_key=True, foreign_key="join_token.id", ondelete="CASCADE")
    key_fingerprint: str = Field(primary_key=True)
    used_at: datetime


class DeviceRow(Table, table=True):
    """A device."""

    __tablename__ = "device"

    id: str = Field(primary_key=True)
    name: str
    state: str
    state_reason: str = ""
    public_key: bytes
    key_fingerprint: str = Field(unique=True)
    previous_key: bytes | None = None
    previous_fingerprint: str | None = Field(default=None, index=True)
    key_since: datetime | None = None
    key_shown_at: datetime | None = None
    certificate_expires: datetime | None = None
    token: str
    enrolled_at: datetime
    agent_version: str = ""
    boot_id: str = ""
    facts: dict[str, Any] | None = Field(default=None, sa_type=JSON)
    last_seen: datetime | None = None
    acked_sequence: int = Field(default=0, sa_type=BigInteger)
    generation: int = Field(default=0, sa_type=BigInteger)
    document_version: int = Field(default=0, sa_type=BigInteger)


class LabelRow(Table, table=True):
    """One label of one device; ordered so that a selector is an index look-up."""

    __tablename__ = "device_label"
    __table_args__: ClassVar[Any] = (Index(None, "device"), {"sqlite_with_rowid": False})

    key: str = Field(primary_key=True)
    value: str = Field(primary_key=True)
    device: str = Field(primary_key=True, foreign_key="device.id", ondelete="CASCADE")


class SlotRow(Table, table=True):
    """What a slot of a device did when it was last heard."""

    __tablename__ = "slot_report"

    device: str = Field(primary_key=True, foreign_key="device.id", ondelete="CASCADE")
    slot: str = Field(primary_key=True)
    state: str
    active_release: str
    lkg_release: str
    attempt_release: str
    rollout: str
    failure: dict[str, str] | None = Field(default=None, sa_type=JSON)
    degraded: str = ""
    reported_at: datetime


class DesiredRow(Table, table=True):
    """What the director wants in one slot of one device."""

    __tablename__ = "desired"

    device: str = Field(primary_key=True, foreign_key="device.id", ondelete="CASCADE")
    slot: str = Field(primary_key=True)
    release: str
    manifest: str
    length: int = Field(sa_type=BigInteger)
    rollout: str = ""
    lease_expires: datetime | None = None


class KitRow(Table, table=True):
    """What one kit brings to one device; adopted once the device took it up."""

    __tablename__ = "kit"

    id: str = Field(primary_key=True)
    device: str = Field(primary_key=True, foreign_key="device.id", ondelete="CASCADE")
    version: int = Field(sa_type=BigInteger)
    slot: str
    release: str
    manifest: str
    length: int = Field(sa_type=BigInteger)
    until: datetime
    adopted_at: datetime | None = None


class RolloutRow(Table, table=True):
    """A rollout."""

    __tablename__ = "rollout"

    id: str = Field(primary_key=True)
    release: str
    manifest: str
    length: int = Field(sa_type=BigInteger)
    slot: str
    selector: str
    stages: list[str] = Field(sa_type=JSON)
    soak_us: int = Field(sa_type=BigInteger)
    max_failed: int = Field(sa_type=BigInteger)
    max_failed_percent: int
    silent_after_us: int = Field(sa_type=BigInteger)
    min_requests: int = Field(sa_type=BigInteger)
    by_evidence: bool = False
    checks: dict[str, Any] = Field(sa_type=JSON)
    on_failure: str
    terms: dict[str, Any] = Field(sa_type=JSON)
    author: str = ""
    approvals: list[dict[str, str]] = Field(default_factory=list, sa_type=JSON)
    began_at: datetime | None = None
    stage_since: datetime | None = None
    name: str = Field(default="", index=True)
    asked: list[str] = Field(default_factory=list, sa_type=JSON)
    state: str = Field(index=True)
    stage: int
    phase: str
    phase_since: datetime
    reason: str
    created_at: datetime
    ended_at: datetime | None = None


class RolloutDeviceRow(Table, table=True):
    """One device in a rollout, and what it had before."""

    __tablename__ = "rollout_device"
    __table_args__: ClassVar[Any] = (
        Index(None, "device"),
        Index(None, "rollout", "position", "stage", "state", "previous"),
    )

    rollout: str = Field(primary_key=True, foreign_key="rollout.id", ondelete="CASCADE")
    device: str = Field(primary_key=True, foreign_key="device.id", ondelete="CASCADE")
    position: int = Field(sa_type=BigInteger)
    stage: int
    state: str
    detail: str
    requests: int = Field(default=0, sa_type=BigInteger)
    acknowledged: bool = False
    served: bool = False
    held: bool = False
    attempt: int = 0
    failure: str | None = None
    retry_at: datetime | None = None
    promoted: bool = False
    changed_at: datetime
    previous: str | None = None
    previous_manifest: str | None = None
    previous_length: int | None = Field(default=None, sa_type=BigInteger)


class DecisionRow(Table, table=True):
    """One line of the decision log; only ever added."""

    __tablename__ = "decision"

    id: int | None = Field(default=None, primary_key=True, sa_type=_RowId)
    leaf: int = Field(unique=True, sa_type=BigInteger)
    at: datetime
    rollout: str = Field(index=True)
    actor: str
    action: str
    detail: str
    evidence: str = ""


class AuditNodeRow(Table, table=True):
    """The hash of one complete subtree over the decision log; only ever added."""

    __tablename__ = "audit_node"
    __table_args__: ClassVar[Any] = ({"sqlite_with_rowid": False},)

    level: int = Field(primary_key=True, sa_type=BigInteger)
    position: int = Field(primary_key=True, sa_type=BigInteger)
    hash: bytes


class AuditHeadRow(Table, table=True):
    """The one row that says how far the tree over the decision log has grown."""

    __tablename__ = "audit_head"

    id: int = Field(primary_key=True)
    epoch: int = Field(sa_type=BigInteger)
    size: int = Field(sa_type=BigInteger)
    peaks: bytes


class JudgementRow(Table, table=True):
    """What a gate said, and all that it saw when it said it; only ever added."""

    __tablename__ = "judgement"

    id: int | None = Field(default=None, primary_key=True, sa_type=_RowId)
    rollout: str = Field(index=True, foreign_key="rollout.id", ondelete="CASCADE")
    at: datetime
    stage: int
    verdict: str
    reason: str
    inputs: bytes


class QuarantineRow(Table, table=True):
    """A release that shall serve nowhere any more, by the digest of its manifest."""

    __tablename__ = "quarantine"

    manifest: str = Field(primary_key=True)
    release: str
    at: datetime
    actor: str
    reason: str
    stops: bool = False


class EventRow(Table, table=True):
    """One event of a device's outbox, as it arrived."""

    __tablename__ = "event"
    __table_args__: ClassVar[Any] = (Index(None, "received_at"),)

    device: str = Field(primary_key=True, foreign_key="device.id", ondelete="CASCADE")
    sequence: int = Field(primary_key=True, sa_type=BigInteger)
    occurred_at: datetime
    received_at: datetime
    kind: str
    body: dict[str, Any] = Field(sa_type=JSON)


class ReceiptRow(Table, table=True):
    """A receipt whose signature was checked, with the bytes that prove it."""

    __tablename__ = "receipt"

    device: str = Field(primary_key=True, foreign_key="device.id", ondelete="CASCADE")
    sequence: int = Field(primary_key=True, sa_type=BigInteger)
    rollout: str = Field(index=True)
    slot: str
    release: str = Field(index=True)
    verdict: str
    requests: int = Field(sa_type=BigInteger)
    errors: int = Field(sa_type=BigInteger)
    fallbacks: int = Field(sa_type=BigInteger)
    payload: bytes
    signature: bytes
    public_key: bytes = b""
    received_at: datetime


class WinnerRow(Table, table=True):
    """The variant of a bundle that won on a class of hardware, as a receipt said last."""

    __tablename__ = "winner"

    manifest: str = Field(primary_key=True)
    hardware: str = Field(primary_key=True)
    device: str = Field(foreign_key="device.id", ondelete="CASCADE")
    variant: str
    latency_us: int = Field(sa_type=BigInteger)
    told_at: datetime


class UserRow(Table, table=True):
    """A person or a pipeline; without a hash there is no password."""

    __tablename__ = "local_user"

    name: str = Field(primary_key=True)
    role: str
    sites: list[str] = Field(sa_type=JSON)
    password_hash: str
    created_at: datetime
    created_by: str


class CertificateRow(Table, table=True):
    """The certified key of an operator; it outlives its user, so that it stays refused."""

    __tablename__ = "operator_certificate"
    __table_args__: ClassVar[Any] = (Index(None, "user"),)

    key: str = Field(primary_key=True)
    user: str
    issued_at: datetime
    issued_by: str
    expires_at: datetime
    revoked_at: datetime | None = None


class UnlistedRow(Table, table=True):
    """Certificates that began before this moment were not listed yet; none or one row."""

    __tablename__ = "unlisted_certificates"

    before: datetime = Field(primary_key=True)


class LoginRow(Table, table=True):
    """An open session of a person; of its secret only the hash is kept."""

    __tablename__ = "login"
    __table_args__: ClassVar[Any] = (Index(None, "user"),)

    secret_sha256: bytes = Field(primary_key=True)
    user: str = Field(foreign_key="local_user.name", ondelete="CASCADE")
    opened_at: datetime
    used_at: datetime


class ApiTokenRow(Table, table=True):
    """What a program shows to read the API; of its secret only the hash is kept."""

    __tablename__ = "api_token"

    id: str = Field(primary_key=True)
    secret_sha256: bytes = Field(unique=True)
    purpose: str
    role: str
    sites: list[str] = Field(sa_type=JSON)
    created_at: datetime
    created_by: str
    expires_at: datetime


class AlertRow(Table, table=True):
    """One thing that is wrong, or was."""

    __tablename__ = "alert"
    __table_args__: ClassVar[Any] = (Index(None, "state"),)

    rule: str = Field(primary_key=True)
    subject: str = Field(primary_key=True)
    site: str
    severity: str
    text: str
    state: str
    since: datetime
    seen: datetime
    told: bool
    ended: datetime | None = None
    by: str = ""
    count: int = Field(default=0, sa_type=BigInteger)


class SilenceRow(Table, table=True):
    """Nobody is told of matching alerts until it ends."""

    __tablename__ = "alert_silence"

    id: str = Field(primary_key=True)
    rule: str
    site: str
    subject: str
    until: datetime
    by: str
    reason: str


class DeliveryRow(Table, table=True):
    """A notice that waits for its channel, or what became of it."""

    __tablename__ = "alert_delivery"
    __table_args__: ClassVar[Any] = (Index(None, "state", "next_try"),)

    id: str = Field(primary_key=True)
    channel: str
    headline: str
    content: dict[str, Any] = Field(sa_type=JSON)
    state: str
    made_at: datetime
    next_try: datetime
    tries: int = 0
    problem: str = ""


class ScheduleRow(Table, table=True):
    """When the devices that a selector means may fetch and activate."""

    __tablename__ = "schedule"

    name: str = Field(primary_key=True)
    selector: str
    download: list[str] = Field(sa_type=JSON)
    activation: list[str] = Field(sa_type=JSON)
    trigger: str
    commit: str
    lease_s: int = Field(sa_type=BigInteger)
    interrupts: bool


class CalendarRow(Table, table=True):
    """When rollouts give places to the devices that a selector means."""

    __tablename__ = "calendar"

    name: str = Field(primary_key=True)
    selector: str
    zone: str
    hours: list[str] = Field(sa_type=JSON)
    freezes: list[str] = Field(sa_type=JSON)
    holidays: list[str] = Field(sa_type=JSON)


class HoldRow(Table, table=True):
    """Nothing is activated on the devices that a selector means, until a moment."""

    __tablename__ = "hold"

    id: str = Field(primary_key=True)
    selector: str
    slot: str
    owner: str
    reason: str
    until: datetime
    placed_at: datetime


class SampleOrderRow(Table, table=True):
    """Samples of one slot of one device are wanted until a moment."""

    __tablename__ = "sample_order"

    device: str = Field(primary_key=True, foreign_key="device.id", ondelete="CASCADE")
    slot: str = Field(primary_key=True)
    until: datetime
    by: str
    reason: str


class SampleRow(Table, table=True):
    """A sealed sample, whose bytes lie in a file of the same name."""

    __tablename__ = "sample"
    __table_args__: ClassVar[Any] = (Index(None, "taken_at"),)

    id: str = Field(primary_key=True)
    device: str
    slot: str
    release: str
    trigger: str
    taken_at: datetime
    received_at: datetime
    keep_until: datetime
    bytes: int = Field(sa_type=BigInteger)
