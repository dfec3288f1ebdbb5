"""What a certificate is for. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from cryptography import x509


@dataclass(frozen=True, slots=True)
class Profile:
    """Whom a certificate names, what it may be used for, and when."""

    common_name: str
    names: Sequence[x509.GeneralName]
    usage: x509.ObjectIdentifier
    begins: datetime
    ends: datetime
