"""Who holds a lease, precisely enough that another process on the same host can prove it dead."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path

_PROC = Path("/proc")


def this_process(worker: str) -> str:
    """The holder for one worker of this process, as JSON.

    `worker` tells the workers of one process apart. `pids` is the PID namespace: containers on one host may share
    its name and its boot, but a PID means something only among processes of the same namespace.
    """
    holder = {**_host(), "pid": os.getpid(), "started": _started(os.getpid()), "worker": worker}
    return json.dumps(holder, sort_keys=True)


def provably_dead(holder: str) -> bool:
    """Whether the process of this holder has ended for certain. False wherever that cannot be known from here."""
    try:
        claimed = json.loads(holder)
    except ValueError:
        return False
    here = _host()
    if not isinstance(claimed, dict) or not all(here.values()):
        return False
    if any(claimed.get(name) != value for name, value in here.items()):
        return False
    pid, started = claimed.get("pid"), claimed.get("started")
    if not isinstance(pid, int) or pid <= 0 or started is None:
        return False
    try:
        os.kill(pid, 0)  # asks only; works also where other people's /proc entries are hidden
    except ProcessLookupError:
        return True
    except OSError:
        pass  # it is there, and not ours to signal
    started_now = _started(pid)
    return started_now is not None and started_now != started


def _host() -> dict[str, str | None]:
    try:
        boot = (_PROC / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        pids = str((_PROC / "self/ns/pid").readlink())
    except OSError:  # not Linux: nothing is provable, leases simply expire
        boot, pids = None, None
    return {"host": socket.gethostname(), "boot": boot, "pids": pids}


def _started(pid: int) -> str | None:
    try:
        stat = (_PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    # proc(5): field 22, in clock ticks since boot. The name, field 2, may itself hold blanks and parentheses.
    return stat.rpartition(")")[2].split()[19]
