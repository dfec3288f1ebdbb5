"""`python -m sealane_agent.worker <control descriptor> <parent> <name>`: started by the endpoint.

The name is for who looks at the processes.

Imports little before its priority is lowered.
"""

from __future__ import annotations

import importlib
import os
import socket
import sys

from sealane_agent.worker.host import at_low_priority, be_first_to_go, die_with_parent
from sealane_agent.worker.orders import PACKET_BYTES, Order
from sealane_agent.worker.priority import Priority, own_nice


def main() -> int:
    """Take the order and serve; the exit status."""
    control = socket.socket(fileno=int(sys.argv[1]))
    if not die_with_parent(int(sys.argv[2])):
        return 0
    be_first_to_go()
    packet = control.recv(PACKET_BYTES)
    if not packet:
        return 0
    order, priority = Order.decode(packet), Priority(os.getpid(), own_nice())
    if order.steps_back:
        priority.lower()
    service = at_low_priority(lambda: importlib.import_module("sealane_agent.worker.service"))
    return int(service.run(order, control, priority))


if __name__ == "__main__":
    status = main()
    sys.stderr.flush()
    # Ends at once: the engines' destructors can hang or crash.
    os._exit(status)
