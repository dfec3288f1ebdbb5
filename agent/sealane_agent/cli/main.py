"""`sealane-agent`: the command line of a device.

Exit codes: 0 ok, 1 failed, 2 usage, 3 refused by policy, 4 the manager or the
agent does not answer, 5 warnings (doctor, verify), 130 interrupted by Ctrl-C.
"""

from __future__ import annotations

import argparse
import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Final

from sealane.errors import InvalidName, SealaneError, TokenError, TrustError

from sealane_agent.cli.trouble import told
from sealane_agent.errors import AlreadyEnrolled, AlreadyRunning, Refused, Unreachable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

COMMANDS: Final[Mapping[str, str]] = {
    "enroll": "enroll",
    "run": "run",
    "status": "status",
    "doctor": "doctor",
    "verify": "doctor",
    "history": "history",
    "logs": "history",
    "support": "support",
    "hold": "hold",
    "holds": "hold",
    "release": "hold",
    "rollback": "rollback",
    "import": "import_kit",
    "endpoint": "endpoint",
    "check-config": "check_config",
    "version": "version",
}
"""Command to its file here: a process loads its own alone, for a supervisor keeps what it loads.
"""

_CODES: Final[tuple[tuple[type[SealaneError], int], ...]] = (
    (InvalidName, 2),
    (TokenError, 2),
    (Refused, 3),
    (AlreadyEnrolled, 3),
    (AlreadyRunning, 3),
    (TrustError, 3),
    (Unreachable, 4),
    (SealaneError, 1),
)


INTERRUPTED: Final = 130
"""What a shell says of a command that Ctrl-C ended: 128 and the number of the signal."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit code."""
    words = sys.argv[1:] if arguments is None else arguments
    # Each command says itself what became of its calls.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    try:
        parsed = _parser(words).parse_args(words)
        code = int(parsed.handler(parsed))
        sys.stdout.flush()
    except BrokenPipeError:  # who read the answer has left, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except SealaneError as error:
        return _complain(str(error), error.hint, _code(error))
    except OSError as error:
        return _complain(*told(error), 1)
    except KeyboardInterrupt:
        return INTERRUPTED
    return code


def _parser(words: Sequence[str]) -> argparse.ArgumentParser:
    """Understands the command that the words begin with; every command when they name none."""
    parser = argparse.ArgumentParser(
        prog="sealane-agent", description="Verifies, hot-swaps and serves models on this device."
    )
    commands = parser.add_subparsers(required=True, metavar="command")
    named = COMMANDS.get(words[0]) if words else None
    for module in dict.fromkeys(COMMANDS.values()) if named is None else (named,):
        import_module(f"sealane_agent.cli.{module}").add_parser(commands)
    return parser


def _code(error: SealaneError) -> int:
    return next(code for kind, code in _CODES if isinstance(error, kind))


def _complain(message: str, hint: str, code: int) -> int:
    sys.stderr.write(f"error: {message}\n")
    if hint:
        sys.stderr.write(f"hint: {hint}\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
