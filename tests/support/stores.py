"""A store on a temporary file, with devices in it."""

from __future__ import annotations

import hashlib
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from sealane import receipt as receipts
from sealane.fleet import Event, SlotReport
from sealane.names import DeviceId
from sealane_manager.selector import parse
from sealane_manager.store.records import By, Draft, NewDevice, ReleaseSource
from sealane_manager.store.store import open_store
from support.rollouts import MANIFEST, NEW, OLD, OLD_MANIFEST, START, a_receipt, a_spec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sealane.receipt import Receipt, SignedReceipt
    from sealane_manager.rollout.types import Rollout
    from sealane_manager.store.store import Store
from sealane_manager.store.records import DeviceRecord

ADA = By("ada", "because", START)
NEW_SOURCE = ReleaseSource(NEW, MANIFEST, 700)
OLD_SOURCE = ReleaseSource(OLD, OLD_MANIFEST, 600)

_MEMORY = Path("/dev/shm")  # a file system without a disk below: nothing waits for fsync
_KEYS: dict[str, ec.EllipticCurvePrivateKey] = {}


def nothing(_store: Store) -> None:
    """Leaves a store empty."""


@contextmanager
def a_store(fill: Callable[[Store], None] = nothing) -> Iterator[Store]:
    """A store on a file in memory, empty or filled once a process."""
    with in_memory() as folder:
        store = a_new_store(folder / "control.db", fill)
        yield store
        store.close()


@contextmanager
def in_memory() -> Iterator[Path]:
    """A folder that is gone afterwards, where nothing waits for fsync."""
    with TemporaryDirectory(dir=_MEMORY if _MEMORY.is_dir() else None) as folder:
        yield Path(folder)


def a_new_store(path: Path, fill: Callable[[Store], None] = nothing) -> Store:
    """A store at a path: it is made and filled once a process, and copied from then on."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lay_schema(path, fill)
    return open_store(path)


def lay_schema(path: Path, fill: Callable[[Store], None] = nothing) -> None:
    """The files of a store, as its migrations and who fills it left them."""
    for name, content in _files(fill).items():
        path.with_name(name).write_bytes(content)


@cache
def _files(fill: Callable[[Store], None]) -> dict[str, bytes]:
    with in_memory() as folder:
        path = folder / "control.db"
        store = open_store(path) if fill is nothing else a_new_store(path)
        fill(store)
        store.close()
        return {path.name: path.read_bytes() for path in folder.iterdir()}


def key_of(device: str) -> ec.EllipticCurvePrivateKey:
    """The device's own key; the same one each time."""
    return _KEYS.setdefault(device, ec.generate_private_key(ec.SECP256R1()))


def a_new_device(name: str, **labels: str) -> NewDevice:
    public = key_of(name).public_key()
    der = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return NewDevice(
        id=DeviceId(name),
        name=name,
        labels=labels,
        public_key=public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        key_fingerprint=hashlib.sha256(der).hexdigest(),
        token="t-1",  # noqa: S106 - the id of a token, no secret
        enrolled_at=START,
    )


def enrol(store: Store, *names: str, **labels: str) -> tuple[DeviceRecord, ...]:
    return tuple(store.devices.enrol(a_new_device(name, **labels)) for name in names)


def start(store: Store, rollout: str = "r-1", **changes: Any) -> Rollout:
    """Start a rollout of NEW; `stages` as text."""
    spec = a_spec(*changes.pop("stages", ()), **changes)
    source = NEW_SOURCE if spec.release == NEW else OLD_SOURCE
    draft = Draft(rollout, spec, source, parse(spec.selector))
    return store.rollouts.create(draft, ADA).rollout


def signed(device: str, **changes: Any) -> SignedReceipt:
    """A serving receipt, signed by the device."""
    receipt: Receipt = a_receipt(device, **changes)
    return receipts.sign(receipt, key_of(device))


def an_event(sequence: int, body: SlotReport | SignedReceipt) -> Event:
    return Event(sequence, START, body)
