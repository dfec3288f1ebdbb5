"""Renews the device's certificate in time, each time with a new key; nothing that serves waits."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, Protocol

from sealane.errors import SealaneError
from sealane.trust.identity import BACKDATED

from sealane_agent.identity.lifetime import Outlook, lifetime, outlook, pause, pause_after_failure

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from sealane_agent.identity.lifetime import Lifetime
    from sealane_agent.identity.membership import Certifier
    from sealane_agent.identity.passport import Passport
    from sealane_agent.log import Log

ENROL_HINT: Final = (
    "what serves goes on; make a token with `sealane device token`, "
    "then run `sealane-agent enroll` with it"
)


class Dialler(Protocol):
    """Whatever speaks to the manager with the passport: `session.Session`."""

    def redial(self) -> None:
        """Hang up and dial again, with the passport as it is now."""
        ...

    async def open(self) -> None:
        """Return when a session is open."""
        ...


class Renewer:
    """Keeps one passport valid."""

    def __init__(
        self,
        passport: Passport,
        certifier: Certifier,
        dialler: Dialler,
        log: Log,
    ) -> None:
        self._passport, self._dialler, self._log = passport, dialler, log
        self._certifier = certifier
        self._told = ""

    async def run(self, now: Callable[[], datetime], chance: Callable[[], float]) -> None:
        """Until cancelled; `now` is trusted time, `chance` a random number below 1."""
        while True:
            life = self._life(chance())
            while (state := outlook(life, now())) is Outlook.GOOD:
                await self._rest(pause(life, now()))
            good = await (self._expired(life) if state is Outlook.EXPIRED else self._renewed())
            if not good:
                await self._rest(pause_after_failure(life, chance()))

    def _life(self, chance: float) -> Lifetime:
        certificate = self._passport.certificate
        issued = certificate.not_valid_before_utc + BACKDATED
        return lifetime(issued, certificate.not_valid_after_utc, chance)

    async def _renewed(self) -> bool:
        """Ask for a certificate of a new key; one that has not been shown yet comes first."""
        if self._passport.unsettled:
            return False
        try:
            csr = await asyncio.to_thread(self._passport.request)
            pem = await asyncio.to_thread(self._certifier.renew, self._passport.membership, csr)
            await asyncio.to_thread(self._passport.take, pem)
        except (SealaneError, OSError) as error:
            self._tell("certificate not renewed", error)
            if self._passport.unsettled:
                self._dialler.redial()
            return False
        self._taken("certificate renewed")
        return True

    async def _expired(self, life: Lifetime) -> bool:
        """Look for another certificate, or rejoin; whether there is one now."""
        before = self._passport.certificate
        try:
            await asyncio.to_thread(self._passport.read)
        except (SealaneError, OSError) as error:
            self._tell("certificate unreadable", error)
        if self._passport.certificate == before:
            return await self._rejoined(life)
        self._taken("certificate found")
        return True

    async def _rejoined(self, life: Lifetime) -> bool:
        """Prove to the manager whose certificate this was."""
        try:
            await asyncio.to_thread(self._passport.take, await asyncio.to_thread(self._proved))
        except (SealaneError, OSError) as error:
            ended = f"by the time known here it ended at {life.ends.isoformat(timespec='seconds')}"
            hint = getattr(error, "hint", "") or ENROL_HINT
            self._tell("certificate expired", SealaneError(f"{ended}; {error}", hint=hint))
            return False
        self._taken("certificate renewed after its end")
        return True

    def _proved(self) -> bytes:
        if self._passport.unsettled:
            self._passport.settle()  # the manager knows it: whoever is certified next follows it
            self._passport.read()
        csr = self._passport.request()
        return self._certifier.rejoin(self._passport.membership, csr)

    async def _rest(self, seconds: float) -> None:
        """Sleep; a new certificate whose session opens meanwhile takes the old one's place."""
        if not self._passport.unsettled:
            await asyncio.sleep(seconds)
            return
        try:
            async with asyncio.timeout(seconds):
                await self._dialler.open()
        except TimeoutError:
            return
        try:
            await asyncio.to_thread(self._passport.settle)
        except OSError as error:
            self._tell("certificate not settled", error)
            await asyncio.sleep(seconds)

    def _taken(self, event: str) -> None:
        ends = self._passport.certificate.not_valid_after_utc
        self._log(event, until=ends.isoformat(timespec="seconds"))
        self._told = ""
        self._dialler.redial()

    def _tell(self, event: str, error: Exception) -> None:
        """Once for each reason: it is tried again and again."""
        if str(error) != self._told:
            self._log(event, reason=error, hint=getattr(error, "hint", ""))
        self._told = str(error)
