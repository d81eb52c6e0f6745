"""A worker that computes nothing: it plays what the test has written down."""

from __future__ import annotations

import json
import os
from multiprocessing.connection import Connection

from metaft.traces.pack.crew import Orders


def act(connection: Connection, orders: Orders) -> None:
    """Play a worker by the file that stands in for the pack: key -> line, or how to die."""
    lines = json.loads(orders.pack.read_text())
    if "problem" in lines:
        connection.send(("problem", lines["problem"], "Do something"))
        return
    if "early death" in lines:
        os._exit(9)
    connection.send(("ready",))
    while (order := connection.recv()) is not None:
        group, reason = order
        for key in group.runs:
            if lines[key] == "die" and not reason:
                os._exit(9)
            connection.send(("trace", lines["failed"] if reason else lines[key]))
        connection.send(("ready",))
