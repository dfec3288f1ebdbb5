"""Decides what a device's key may still do, now that keys follow one another. Pure.

  the key shown is                   asks to renew                 opens a session
  ---------------------------------  ----------------------------  ------------------------------
  the current one                    for a new key: it follows     yes; the previous one has ended
  the previous one                   for the current one: again,   until the current one was shown
                                     since the answer was lost
  certified after the current one    for a new key: it follows     yes; it is the current one now
  certified before it was enrolled   refused                       refused
  any other, or in any other way     a clone                       a clone

A key that was certified after the current one is no clone: the manager's memory is older than its
signature, because it was put back from a backup. Nor is one that was certified before the device
was enrolled: it belongs to a machine whose name was given to another one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from datetime import datetime


_SECOND: Final = timedelta(seconds=1)
"""What a certificate's moments are rounded to."""


class Ruling(StrEnum):
    """What a use of a key means."""

    FOLLOWS = "follows"
    """The key that was asked for is the current one from now on."""
    AGAIN = "again"
    """Nothing changes: the same answer once more."""
    SAME_KEY = "same key"
    """A renewal needs a key that was not used before."""
    STRANGER = "stranger"
    """The certificate is from before the device was enrolled."""
    CLONE = "clone"
    """Somebody uses a key that was superseded: the device may have been copied."""


@dataclass(frozen=True, slots=True)
class Key:
    """A device's public key.

    Attributes:
        fingerprint: SHA-256 of its DER, hexadecimal.
        pem: SubjectPublicKeyInfo.
    """

    fingerprint: str
    pem: bytes


@dataclass(frozen=True, slots=True)
class Shown:
    """The key that a caller has proved, and when its certificate was issued."""

    key: Key
    issued: datetime


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys of one device.

    Attributes:
        enrolled: when the device was enrolled.
        since: when the current key was certified first.
        shown: whether the current key was used since; then the previous one has ended.
    """

    current: Key
    previous: Key | None
    enrolled: datetime
    since: datetime
    shown: bool


def renewed(keys: Keys, shown: Shown, asked: Key, now: datetime) -> tuple[Keys, Ruling]:
    """The keys after somebody who showed one key asked for a certificate of another."""
    if shown.key == keys.previous and asked == keys.current:
        return keys, Ruling.AGAIN
    after, ruling = met(keys, shown)
    if ruling in (Ruling.CLONE, Ruling.STRANGER):
        return keys, ruling
    if shown.key != after.current:
        return keys, Ruling.CLONE
    if asked in (after.current, after.previous):
        return keys, Ruling.SAME_KEY
    return _followed(after, asked, now), Ruling.FOLLOWS


def met(keys: Keys, shown: Shown) -> tuple[Keys, Ruling]:
    """The keys after somebody opened a session with one."""
    if shown.key == keys.current:
        return replace(keys, shown=True), Ruling.AGAIN
    if shown.key == keys.previous:
        return keys, Ruling.CLONE if keys.shown else Ruling.AGAIN
    if shown.issued > keys.since:
        return replace(_followed(keys, shown.key, shown.issued), shown=True), Ruling.FOLLOWS
    return keys, Ruling.STRANGER if shown.issued + _SECOND < keys.enrolled else Ruling.CLONE


def _followed(keys: Keys, new: Key, since: datetime) -> Keys:
    return replace(keys, current=new, previous=keys.current, since=since, shown=False)
