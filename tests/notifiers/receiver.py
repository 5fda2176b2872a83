"""A receiver of messages, as a process of its own: keeps what it accepts in a file before it says so.

`python -m tests.notifiers.receiver PORT FILE`. What is signed, but not under `KEY` or long ago, is refused.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from rotator.testbed.process import free_port

KEY = "a key that signs messages"


def is_signed(header: str, body: bytes, now: float) -> bool:
    """Whether the header is ours, over this body, and not of long ago."""
    at, _, mac = header.partition(",")
    age = now - int(at.removeprefix("t="))
    expected = hmac.new(KEY.encode(), at.removeprefix("t=").encode() + b"." + body, hashlib.sha256).hexdigest()
    return abs(age) < 300 and hmac.compare_digest(mac, f"v1={expected}")


class Handler(BaseHTTPRequestHandler):
    kept: Path

    def do_GET(self) -> None:
        self._answer(200)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        header = self.headers.get("Rotator-Signature")
        if header is not None and not is_signed(header, body, time.time()):
            self._answer(401)
            return
        with self.kept.open("a", encoding="utf-8") as file:
            line = {"signed": header is not None, "path": self.path, "body": json.loads(body)}
            file.write(json.dumps(line) + "\n")
            file.flush()
            os.fsync(file.fileno())
        self._answer(200)

    def _answer(self, status: int) -> None:
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


@dataclass
class Receiver:
    """The process, which can be killed and started again on its port."""

    folder: Path
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    @property
    def file(self) -> Path:
        return self.folder / "received.jsonl"

    def start(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.notifiers.receiver", str(self.port), str(self.file)],
            cwd=Path(__file__).parents[2],
        )
        for _ in range(400):
            with contextlib.suppress(OSError):
                urlopen(self.url).close()
                return
            time.sleep(0.05)
        raise TimeoutError

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    @property
    def received(self) -> list[dict[str, Any]]:
        """Every message that it accepted, in order."""
        lines = self.file.read_text(encoding="utf-8").splitlines() if self.file.exists() else []
        return [json.loads(line)["body"] for line in lines]

    @property
    def notices(self) -> list[dict[str, Any]]:
        """Every notice of those, in order."""
        return [notice for message in self.received for notice in message["notices"]]


@contextlib.contextmanager
def receiving(folder: Path) -> Iterator[Receiver]:
    receiver = Receiver(folder)
    receiver.start()
    try:
        yield receiver
    finally:
        receiver.kill()


if __name__ == "__main__":
    Handler.kept = Path(sys.argv[2])
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
