"""Says which user of this machine is at the other end of a connection to a door.

A client is named by the address of its end, as gRPC writes it: `ipv4:127.0.0.1:40000`.
"""

from __future__ import annotations

import os
import re
from ipaddress import IPv6Address, ip_address
from pathlib import Path
from typing import Final
from urllib.parse import unquote

UNIX: Final = "unix:"
"""How a client of a unix socket is named; its user follows."""

GONE: Final = "gone:"
"""How a client is named that left before anybody could ask who it is; a number follows."""

_CLIENT: Final = re.compile(r"ipv[46]:(.+):(\d{1,5})")
_MAPPED: Final = bytes(10) + b"\xff\xff"
_LOCAL: Final = 1
_STATE: Final = 3
_USER: Final = 7
_ESTABLISHED: Final = "01"


def user_of(client: str) -> int | None:
    """The user, as the kernel says; None when the client is elsewhere or gone."""
    if client.startswith(UNIX):
        user = client.split(":")[1]
        return int(user) if user.isdigit() else os.getuid()
    found = _CLIENT.fullmatch(unquote(client))
    try:
        address = ip_address(found[1].strip("[]")) if found else None
    except ValueError:
        return None
    if found is None or address is None:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    # A socket of IPv6 may speak IPv4, and then stands in the other table.
    tables = {"/proc/net/tcp6": _MAPPED + address.packed, "/proc/net/tcp": address.packed}
    if isinstance(address, IPv6Address):
        tables = {"/proc/net/tcp6": address.packed}
    port = int(found[2])
    users = (_user(table, packed, port) for table, packed in tables.items())
    return next((user for user in users if user is not None), None)


def _user(table: str, packed: bytes, port: int) -> int | None:
    try:
        lines = Path(table).read_text(encoding="ascii").splitlines()[1:]
    except OSError:
        return None
    return _find(lines, f"{_as_the_kernel_writes(packed)}:{port:04X}")


def _find(lines: list[str], local: str) -> int | None:
    for line in lines:
        fields = line.split()
        if fields[_LOCAL] == local and fields[_STATE] == _ESTABLISHED:
            return int(fields[_USER])
    return None


def _as_the_kernel_writes(packed: bytes) -> str:
    words = (packed[at : at + 4] for at in range(0, len(packed), 4))
    return "".join(f"{int.from_bytes(word, 'little'):08X}" for word in words)
