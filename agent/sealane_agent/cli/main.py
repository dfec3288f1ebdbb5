"""`sealane-agent`: the command line of a device.

Exit codes: 0 ok, 1 failed, 2 usage, 3 refused by policy, 4 the manager or the
agent does not answer, 5 warnings (doctor, verify).
"""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Final

from sealane.errors import InvalidName, SealaneError, TokenError, TrustError

from sealane_agent.cli import (
    check_config,
    doctor,
    endpoint,
    enroll,
    history,
    hold,
    import_kit,
    rollback,
    run,
    status,
    support,
    version,
)
from sealane_agent.errors import AlreadyEnrolled, Refused, Unreachable

if TYPE_CHECKING:
    from collections.abc import Sequence

_COMMANDS: Final = tuple(
    module.add_parser
    for module in (
        enroll,
        run,
        status,
        doctor,
        history,
        support,
        hold,
        rollback,
        import_kit,
        endpoint,
        check_config,
        version,
    )
)

_CODES: Final[tuple[tuple[type[SealaneError], int], ...]] = (
    (InvalidName, 2),
    (TokenError, 2),
    (Refused, 3),
    (AlreadyEnrolled, 3),
    (TrustError, 3),
    (Unreachable, 4),
    (SealaneError, 1),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit code."""
    parser = argparse.ArgumentParser(
        prog="sealane-agent", description="Verifies, hot-swaps and serves models on this device."
    )
    commands = parser.add_subparsers(required=True, metavar="command")
    for add_parser in _COMMANDS:
        add_parser(commands)
    parsed = parser.parse_args(arguments)
    try:
        return int(parsed.handler(parsed))
    except SealaneError as error:
        return _complain(str(error), error.hint, _code(error))
    except OSError as error:
        return _complain(str(error), "", 1)
    except KeyboardInterrupt:
        return 1


def _code(error: SealaneError) -> int:
    return next(code for kind, code in _CODES if isinstance(error, kind))


def _complain(message: str, hint: str, code: int) -> int:
    sys.stderr.write(f"error: {message}\n")
    if hint:
        sys.stderr.write(f"hint: {hint}\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
