"""Whoever is told what happens, on this machine: the receivers of sinks and notifications. They keep what they get."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rotator.testbed.aws import Aws
from rotator.wiring import new_id
from tests.sinks.conftest import Receiver
from tests.sinks.test_syslog import SyslogServer


class Listening:
    """A receiver for each kind of sink and of notification. To be stopped."""

    def __init__(self, folder: Path, aws: Aws) -> None:
        self.collector, self.webhook, self.apprise = Receiver(), Receiver(), Receiver()
        self.syslog = SyslogServer(folder)
        self._aws, self._bucket = aws, f"canary-{new_id()}"
        client = aws.client("s3")
        client.create_bucket(Bucket=self._bucket, ObjectLockEnabledForBucket=True)
        client.close()

    def sinks(self) -> Mapping[str, Any]:
        """`audit.sinks`; secrets are named `sign`, `key-id` and `aws`."""
        keys = {"access_key_id": "file:key-id", "secret_access_key": "file:aws"}
        siem = {"host": "127.0.0.1", "port": self.syslog.port, "ca_file": str(self.syslog.certificate)}
        return {
            "lines": {"type": "file", "path": "lines.jsonl"},
            "collector": {"type": "http", "url": self.collector.url, "sign": "file:sign"},
            "siem": {"type": "syslog", **siem},
            "archive": {
                "type": "s3", "bucket": self._bucket, "region": "us-east-1", "endpoint_url": self._aws.url, **keys,
            },
        }  # fmt: skip

    def routes(self) -> Mapping[str, Any]:
        """`notify.routes`; secrets are named `sign` and `apprise`."""
        all_at_once = {"events": ["*"], "group_interval": "1ms"}
        return {
            "hook": {"webhook": self.webhook.url, "sign": "file:sign", **all_at_once},
            "chat": {"apprise": "file:apprise", **all_at_once},
        }

    def objects(self) -> list[tuple[str, bytes]]:
        """What is in the bucket."""
        client = self._aws.client("s3")
        names = [found["Key"] for found in client.list_objects_v2(Bucket=self._bucket).get("Contents", [])]
        found = [(name, client.get_object(Bucket=self._bucket, Key=name)["Body"].read()) for name in names]
        client.close()
        return found

    def stop(self) -> None:
        """End them all."""
        for one in (self.collector, self.webhook, self.apprise, self.syslog):
            one.stop()


def bodies(receiver: Receiver) -> list[tuple[str, bytes]]:
    """What one was sent; the headers of some hold how they are signed in to."""
    return [(f"message {number}", body) for number, (_, body) in enumerate(receiver.got)]
