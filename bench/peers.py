"""Rotating one IAM user's access key with a command: small tools from the index of Python packages, and `rotate --now`.

Each against moto's server, which checks keys and signatures; the key stands in a file. Once alone, and then twice at
once, as two people or two timers may start it: well ended is what leaves a key in the file that works, and no other
active key of the user. The tools have no database and look at no place but their file; `aws-key-rotator` leaves the old
key inactive, the others delete it. They are no dependency: whoever has none of them measures nothing.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from configparser import ConfigParser
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bench import fleet
from bench.measure import Goals, Results, parser
from bench.scripts import ours
from rotator import wiring
from rotator.access import dotenv
from rotator.config import load
from rotator.testbed.aws import Aws, AwsKey

TIME, WELL = "time of one rotation as a command", "two at once that end well"
OURS = "rotate --now"
PEERS = {"aws-key-rotator": "aws-key-rotator==0.1.2", "aws-rotate-keys": "aws-rotate==0.0.3"}
"""Command → the package that has it."""

GOALS: Goals = {TIME: None, WELL: None}
TINY = ("--rounds", "1")

_IDS = {"key": "aws_access_key_id", "secret": "aws_secret_access_key"}
_WITHIN = 120.0  # seconds


@dataclass(frozen=True, kw_only=True)
class Tool:
    """A command that rotates the key of a user, and the file where it stands."""

    command: Sequence[str]
    environment: Mapping[str, str]
    user: str
    held: Callable[[], AwsKey]

    def start(self) -> subprocess.Popen[bytes]:
        """Begin. Of our environment it gets PATH alone: no key of ours may be what it rotates."""
        return subprocess.Popen(
            self.command,
            env={"PATH": os.environ.get("PATH", os.defpath), **self.environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )


ToolOf = Callable[[Aws], AbstractContextManager[Tool]]


@contextmanager
def peer(aws: Aws, command: str) -> Iterator[Tool]:
    """It rotates the key that it works with itself, in a file as the tools of AWS have it."""
    user = f"of-{command}"
    key = aws.user(user, allow=("iam:*", "sts:*"))
    with tempfile.TemporaryDirectory() as home:
        file = Path(home) / ".aws" / "credentials"
        file.parent.mkdir()
        section = {_IDS["key"]: key.access_key_id, _IDS["secret"]: key.secret_access_key}
        parsed = ConfigParser(interpolation=None)
        parsed["default"] = section
        with file.open("w") as text:
            parsed.write(text)

        def held() -> AwsKey:
            found = ConfigParser(interpolation=None)
            found.read(file)
            return AwsKey(found["default"][_IDS["key"]], found["default"][_IDS["secret"]])

        given = {"HOME": home, "AWS_ENDPOINT_URL": aws.url, "AWS_DEFAULT_REGION": aws.region}
        yield Tool(command=[command], environment=given, user=user, held=held)


@contextmanager
def own(aws: Aws) -> Iterator[Tool]:
    """Ours, with an administrator's key, on SQLite. It has rotated once, so that there is an old key."""
    user = "ours"
    first = aws.user(user)
    aws.client("iam").delete_access_key(UserName=user, AccessKeyId=first.access_key_id)
    with tempfile.TemporaryDirectory() as below:
        folder = Path(below)
        for name, value in (("id", aws.root.access_key_id), ("secret", aws.root.secret_access_key)):
            (folder / name).write_text(value)
        file = fleet.install(
            folder,
            {
                "environment": fleet.NAME,
                "store": {"url": "sqlite:///rotator.db"},
                "defaults": {"policy": fleet.POLICY},
                "providers": {
                    "aws": {
                        "type": "aws-iam",
                        "account": aws.account,
                        "endpoint_url": aws.url,
                        "access_key_id": "file:id",
                        "secret_access_key": "file:secret",
                    }
                },
                "destinations": {"file": {"type": "env-file", "path": str(folder / ".env")}},
                "credentials": {user: {"provider": "aws", "options": {"user": user}, "destinations": ["file"]}},
            },
        )
        with wiring.opened(load(file), wiring.surroundings()) as service:
            ours(service.running(), [user])

        def held() -> AwsKey:
            found = dotenv.read((folder / ".env").read_text())
            return AwsKey(found["AWS_ACCESS_KEY_ID"], found["AWS_SECRET_ACCESS_KEY"])

        command = [sys.executable, "-m", "rotator", "rotate", "--now", user, "--config", str(file)]
        yield Tool(command=command, environment={}, user=user, held=held)


def alone(tool: Tool) -> float:
    """Seconds of one rotation."""
    before, began = tool.held(), time.perf_counter()
    with tool.start() as process:
        status = process.wait(_WITHIN)
    seconds = time.perf_counter() - began
    assert status == 0, (tool.command[0], status)
    assert tool.held() != before
    return seconds


def together(aws: Aws, tool: Tool) -> tuple[bool, str]:
    """Whether two at once end well, and what they leave."""
    with tool.start() as one, tool.start() as other:
        statuses = sorted((one.wait(_WITHIN), other.wait(_WITHIN)))
    held = tool.held()
    keys = aws.client("iam").list_access_keys(UserName=tool.user)["AccessKeyMetadata"]
    strays = [key for key in keys if key["Status"] == "Active" and key["AccessKeyId"] != held.access_key_id]
    works = _works(aws, held, tool.user)
    left = f"{len(strays)} stray active" if strays else "none stray"
    return works and not strays, f"exit {statuses[0]} and {statuses[1]}, key {'works' if works else 'DEAD'}, {left}"


def _works(aws: Aws, key: AwsKey, user: str) -> bool:
    from botocore.exceptions import ClientError

    try:
        arn: str = aws.client("sts", key).get_caller_identity()["Arn"]
    except ClientError:
        return False
    return arn.endswith(f":user/{user}")


@contextmanager
def anew(aws: Aws, tool_of: ToolOf) -> Iterator[Tool]:
    """A tool whose user has one key: the last round may have left anything."""
    with tool_of(aws) as tool:
        yield tool
        iam = aws.client("iam")
        for key in iam.list_access_keys(UserName=tool.user)["AccessKeyMetadata"]:
            iam.delete_access_key(UserName=tool.user, AccessKeyId=key["AccessKeyId"])
        iam.delete_user_policy(UserName=tool.user, PolicyName="testbed")
        iam.delete_user(UserName=tool.user)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure; 1 if a goal is missed."""
    options = parser(__doc__)
    options.add_argument("--rounds", type=int, default=5)
    asked = options.parse_args(arguments)
    there = [command for command in PEERS if shutil.which(command)]
    if not there:
        print(
            f"none of {' and '.join(PEERS)} is installed: nothing was compared, and the figures that are kept stay. "
            f"In an environment of their own: `pip install {' '.join(PEERS.values())}`, and put its bin/ on PATH"
        )
        return 0
    results = Results("peers", GOALS, asked.results)
    tools: dict[str, ToolOf] = {OURS: own, **{command: partial(peer, command=command) for command in there}}
    times: dict[str, list[float]] = defaultdict(list)
    ended: dict[str, list[tuple[bool, str]]] = defaultdict(list)
    with Aws(authentication=True) as aws:
        for _ in range(asked.rounds):
            for name, tool_of in tools.items():
                with anew(aws, tool_of) as tool:
                    times[name].append(alone(tool))
                with anew(aws, tool_of) as tool:
                    ended[name].append(together(aws, tool))
    for name in there:
        mine, theirs = times[OURS], times[name]
        detail = f"{statistics.median(mine):.2f} s against {statistics.median(theirs):.2f} s"
        results.add(TIME, OURS, name, [one / other for one, other in zip(mine, theirs, strict=True)], detail)
    for name, found in ended.items():
        detail = "; ".join(f"{often}x {how}" for how, often in Counter(how for _, how in found).items())
        results.add(WELL, name, "all of them", [statistics.mean(well for well, _ in found)], detail)
    return results.end()


if __name__ == "__main__":
    sys.exit(main())
