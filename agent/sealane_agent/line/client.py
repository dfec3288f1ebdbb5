"""Asks a running supervisor about holds, over its socket for the line's own software."""

from __future__ import annotations

import json
import socket
from typing import TYPE_CHECKING, Any, Final

from sealane_agent.errors import Refused, Unreachable

if TYPE_CHECKING:
    from pathlib import Path

_ANSWER_S: Final = 10.0
_ANSWER_BYTES: Final = 65_536


def ask(path: Path, request: dict[str, Any]) -> dict[str, Any]:
    """One question, one answer; raises Unreachable (no supervisor) or Refused."""
    try:
        with socket.socket(socket.AF_UNIX) as line:
            line.settimeout(_ANSWER_S)
            line.connect(str(path))
            line.sendall(json.dumps(request).encode() + b"\n")
            with line.makefile("rb") as answers:
                answer: dict[str, Any] = json.loads(answers.readline(_ANSWER_BYTES))
    except (OSError, ValueError) as error:
        raise Unreachable(
            f"no agent answers on {path}: {error}", hint="is `sealane-agent run` running?"
        ) from error
    if "error" in answer:
        raise Refused(str(answer["error"]), hint=str(answer.get("hint", "")))
    return answer
