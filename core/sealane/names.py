"""The grammar of names: digests, releases, slots, devices and labels.

A name that was parsed here is safe in a path, a log line, a URL and a certificate.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, NewType

from sealane.errors import InvalidName

Digest = NewType("Digest", str)
"""`sha256:` and 64 lower-case hexadecimal digits (OCI image specification, Digests)."""

DeviceId = NewType("DeviceId", str)
"""What the manager calls a device; stands in its certificate."""

SlotName = NewType("SlotName", str)
"""A named place on a device where one model serves; also the model's name for its clients."""

AGENT_SLOT: Final = SlotName("sealane-agent")
"""Where an agent's own version is released; no model serves there."""

AGENT_FAMILY: Final = "sealane"
AGENT_MODEL: Final = "sealane/agent"
"""What releases of the agent are called; its family's keys sign nothing else."""

_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")
_WORD: Final = r"[a-z0-9](?:[a-z0-9_.-]{0,62}[a-z0-9])?"
_NAME: Final = re.compile(_WORD)
_MODEL: Final = re.compile(rf"{_WORD}/{_WORD}")
_LABEL_HINT: Final = (
    "use up to 64 of a-z, A-Z, 0-9, '-', '_' and '.', beginning and ending with a letter or digit"
)
_LABEL_VALUE: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,62}[A-Za-z0-9])?")
_MAX_VERSION: Final = 2**31 - 1


def parse_digest(text: str) -> Digest:
    """Return the digest, or raise InvalidName."""
    if not _DIGEST.fullmatch(text):
        raise InvalidName(f"{text[:80]!r} is not a digest", hint="expected sha256: and 64 digits")
    return Digest(text)


def hex_of(digest: Digest) -> str:
    """The hexadecimal part of a digest: a safe file name."""
    return digest.partition(":")[2]


def parse_slot(text: str) -> SlotName:
    """Return the slot's name, or raise InvalidName."""
    return SlotName(_name(text, "slot"))


def parse_device(text: str) -> DeviceId:
    """Return the device's id, or raise InvalidName."""
    return DeviceId(_name(text, "device"))


def parse_fleet(text: str) -> str:
    """Return the name of a fleet, or raise InvalidName."""
    return _name(text, "fleet")


def parse_operator(text: str) -> str:
    """Return the name of an operator, or raise InvalidName."""
    return _name(text, "operator")


def parse_family(text: str) -> str:
    """Return the name of a family of models, or raise InvalidName."""
    return _name(text, "family")


def _name(text: str, what: str) -> str:
    if not _NAME.fullmatch(text):
        article = "an" if what[0] in "aeiou" else "a"
        raise InvalidName(
            f"{text[:80]!r} is not {article} {what} name",
            hint="use up to 64 of a-z, 0-9, '-', '_' and '.', beginning and ending with a-z or 0-9",
        )
    return text


def parse_label(key: str, value: str) -> tuple[str, str]:
    """Return the label, or raise InvalidName."""
    _name(key, "label")
    if not _LABEL_VALUE.fullmatch(value):
        raise InvalidName(f"{value[:80]!r} is not a value for label {key}", hint=_LABEL_HINT)
    return key, value


@dataclass(frozen=True, slots=True, order=True)
class ReleaseName:
    """A named version of a model: `vision/defect@7`."""

    model: str
    version: int

    @classmethod
    def parse(cls, text: str) -> ReleaseName:
        """Return the release's name, or raise InvalidName."""
        model, at, version = text.partition("@")
        if not (at and _MODEL.fullmatch(model) and re.fullmatch(r"[1-9][0-9]{0,9}", version)):
            raise InvalidName(
                f"{text[:80]!r} is not a release name", hint="expected family/model@number"
            )
        if int(version) > _MAX_VERSION:
            raise InvalidName(f"the version of {text} is above {_MAX_VERSION}")
        return cls(model, int(version))

    @property
    def family(self) -> str:
        """The delegated role that may sign this release."""
        return self.model.partition("/")[0]

    @property
    def target_path(self) -> str:
        """The TUF target path of this release."""
        return f"{self.model}@{self.version}.json"

    def __str__(self) -> str:
        """The name as people write it."""
        return f"{self.model}@{self.version}"


PACKAGE_RELEASE: Final = ReleaseName("sealane/package", 1)
PACKAGE_MANIFEST: Final = Digest("sha256:" + "0" * 64)
"""The version of the agent that a machine's package brought: no release, and nothing to fetch."""
