"""An agent under strace in a network namespace of its own, where nobody can be reached."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from realworld.machine import PATH, children

if TYPE_CHECKING:
    from collections.abc import Iterator

    from realworld.machine import Box

STATE: Final = "/srv/quiet/state"
HOME: Final = "/srv/quiet/home"
TRACED: Final = "connect,sendto,sendmsg,sendmmsg,open,openat,openat2,creat,mkdir,mkdirat"
_CONNECT: Final = re.compile(r"connect\(.*?(sa_family=\w+[^}]*)")
_OPEN: Final = re.compile(r'(?:open|openat|openat2|creat|mkdir|mkdirat)\((?:[^"]*)"([^"]*)"(.*)')
_WRITES: Final = ("O_WRONLY", "O_RDWR", "O_CREAT", "O_TRUNC", "mkdir", "creat(")
_NO_FILE: Final = ("/dev/null", "/dev/tty", "/proc/self/oom_score_adj")


@dataclass
class Quiet:
    """One supervisor with its endpoint and workers, as the system calls tell it."""

    box: Box
    _process: subprocess.Popen[bytes] | None = None
    _began: float = 0.0

    def start(self) -> None:
        """Begin, with a copy of the box's device."""
        root = self.box.root
        (root / HOME[1:]).mkdir(parents=True)
        command = f"cp -a /var/lib/sealane-agent {STATE} && chown sealane-agent {HOME}"
        self.box.run("sh", "-c", f"{command} && rm -rf {STATE}/run")
        agent = f"/usr/bin/sealane-agent run --state {STATE} --rest 127.0.0.1:0 --grpc 127.0.0.1:0"
        user = "setpriv --reuid sealane-agent --regid sealane-agent --clear-groups"
        traced = f"strace --follow-forks --quiet=all -e trace={TRACED} -o /srv/quiet/trace {agent}"
        environment = {"PATH": PATH, "LANG": "C.UTF-8", "HOME": HOME}
        (root / "srv/quiet").chmod(0o777)
        script = f"mount -t proc proc {root}/proc && mount --bind /dev {root}/dev && cd /"
        script += f" && ip link set lo up && exec chroot {root} {user} {traced}"
        with (root / "srv/quiet/log").open("wb") as log:
            self._process = subprocess.Popen(
                ["unshare", "--net", "--mount", "sh", "-c", script],  # noqa: S607 - as the system finds it
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self._began = time.monotonic()

    def finish(self, seconds: float) -> None:
        """End it when it has run for so long."""
        time.sleep(max(0.0, self._began + seconds - time.monotonic()))
        self.stop()

    def stop(self) -> None:
        """End it now."""
        if self._process is not None and self._process.poll() is None:
            for agent in children(self._process.pid):  # strace itself listens to no signal
                os.kill(agent, signal.SIGTERM)
            self._process.wait(timeout=60)

    def said(self) -> str:
        """What the agent said."""
        return (self.box.root / "srv/quiet/log").read_text(errors="replace")

    def calls(self) -> Iterator[str]:
        """Every system call that was traced."""
        with (self.box.root / "srv/quiet/trace").open(errors="replace") as trace:
            yield from trace

    def addresses(self) -> set[str]:
        """Whom it tried to reach, other than by a name in the file system."""
        found = (match[1] for call in self.calls() if (match := _CONNECT.search(call)))
        return {address for address in found if "AF_UNIX" not in address}

    def written(self) -> set[str]:
        """Files that it opened for writing, or tried to."""
        found = set()
        for call in self.calls():
            match = _OPEN.search(call)
            if match and any(word in call for word in _WRITES) and match[1] not in _NO_FILE:
                found.add(os.path.normpath(match[1]))
        return found

    def left_at_home(self) -> list[str]:
        """What lies in the home folder that it was given."""
        return [path.name for path in Path(self.box.root / HOME[1:]).iterdir()]
