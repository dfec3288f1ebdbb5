"""Keys of devices follow one another: a device that is alone is never taken for a clone."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st
from sealane_manager.identity.succession import Key, Keys, Ruling, Shown, met, renewed

BEGAN = datetime(2026, 3, 1, 8, tzinfo=UTC)


def key(number: int) -> Key:
    return Key(f"{number:064x}", f"pem {number}".encode())


@dataclass
class Machine:
    """A device that renews in steps, any of which may be its last before it starts again."""

    number: int = 0
    keys: Keys = field(default_factory=lambda: Keys(key(0), None, BEGAN, BEGAN, shown=False))
    issued: list[datetime] = field(default_factory=lambda: [BEGAN])
    holds: int = 0
    next_key: int | None = None
    now: datetime = BEGAN

    def shown(self, number: int | None = None) -> Shown:
        number = self.holds if number is None else number
        return Shown(key(number), self.issued[number])

    def wait(self) -> None:
        self.now += timedelta(hours=1)

    def connect(self) -> Ruling:
        self.keys, ruling = met(self.keys, self.shown())
        return ruling

    def ask(self, *, answered: bool) -> Ruling:
        """Ask for the next key, which is on disk before; the answer may be lost."""
        if self.next_key is None:
            self.number += 1
            self.next_key = self.number
        self.keys, ruling = renewed(self.keys, self.shown(), key(self.next_key), self.now)
        if self.next_key == len(self.issued):
            self.issued.append(self.now)
        if answered:
            self.holds, self.next_key = self.next_key, None
        return ruling


STEPS = st.lists(st.sampled_from(["wait", "connect", "ask", "ask and lose the answer"]))


def walk(machine: Machine, steps: list[str]) -> list[Ruling]:
    rulings = []
    for step in steps:
        if step == "wait":
            machine.wait()
        elif step == "connect":
            rulings.append(machine.connect())
        else:
            rulings.append(machine.ask(answered=step == "ask"))
    return rulings


@given(STEPS)
def test_a_device_that_is_alone_is_never_a_clone_whatever_answers_are_lost(
    steps: list[str],
) -> None:
    assert set(walk(Machine(), steps)) <= {Ruling.FOLLOWS, Ruling.AGAIN}


@given(STEPS, st.data())
def test_a_copied_key_that_was_replaced_and_not_needed_any_more_is_a_clone(
    steps: list[str], data: st.DataObject
) -> None:
    machine = Machine()
    walk(machine, steps)
    machine.wait()
    machine.ask(answered=True)
    machine.connect()
    stolen = data.draw(st.integers(0, machine.holds - 1))
    keys = machine.keys
    assert met(keys, machine.shown(stolen)) == (keys, Ruling.CLONE)
    assert renewed(keys, machine.shown(stolen), key(999), machine.now) == (keys, Ruling.CLONE)


@given(STEPS)
def test_the_device_whose_copy_renewed_first_is_noticed_when_it_renews(steps: list[str]) -> None:
    machine = Machine()
    walk(machine, steps)
    copy, _ = renewed(machine.keys, machine.shown(), key(998), machine.now)
    if copy == machine.keys:
        return
    _, ruling = renewed(copy, machine.shown(), key(999), machine.now)
    assert ruling is Ruling.CLONE


@given(STEPS)
def test_the_current_key_always_counts(steps: list[str]) -> None:
    machine = Machine()
    walk(machine, steps)
    current = Shown(machine.keys.current, machine.now)
    assert met(machine.keys, current)[1] is Ruling.AGAIN
