"""S3 with object lock: an object for each batch, which nobody can change or delete before its time.

Sources: the service model s3 2006-03-01 of botocore; "Locking objects with Object Lock" in the S3 user guide. The
bucket must have been made with object lock. In the mode `compliance` not even the account's root can shorten it.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from rotator.access.aws import Access, AwsSettings, Declined
from rotator.access.formats import FORMATS, Origin
from rotator.access.sinks import SinkSettings
from rotator.domain.errors import Refused
from rotator.ports.store import StoredEvent
from rotator.settings import Duration


class S3Settings(AwsSettings, SinkSettings):
    """`{type: s3, bucket: acme-audit, prefix: rotator/, retain: 400d}`."""

    bucket: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$")]
    prefix: Annotated[str, Field(pattern=r"^[A-Za-z0-9/_.=-]{0,512}$")] = "rotator/"
    retain: Duration = timedelta(days=400)
    mode: Literal["compliance", "governance"] = "compliance"


class S3Sink:
    """An object is named for the events that it holds: `rotator/000000000041-000000000080.jsonl`."""

    Settings: ClassVar[type[S3Settings]] = S3Settings

    most = 1000

    def __init__(self, settings: S3Settings, origin: Origin, timeout: timedelta) -> None:
        self._settings = settings
        self._access = Access(settings, timeout)
        self._line, self._origin = FORMATS[settings.format], origin

    def take(self, events: Sequence[StoredEvent]) -> None:
        """Put the object. One of the same name, from a try before, stays as an older version of it."""
        settings = self._settings
        ending = "cef" if settings.format == "cef" else "jsonl"
        self._access.call(
            "s3",
            "PutObject",
            "ETag",
            Bucket=settings.bucket,
            Key=f"{settings.prefix}{events[0].seq:012d}-{events[-1].seq:012d}.{ending}",
            Body="".join(f"{self._line(event, self._origin)}\n" for event in events).encode(),
            ContentType="text/plain; charset=utf-8" if settings.format == "cef" else "application/x-ndjson",
            ChecksumAlgorithm="SHA256",
            ObjectLockMode=settings.mode.upper(),
            ObjectLockRetainUntilDate=datetime.now(UTC) + settings.retain,
        )

    def look(self) -> None:
        """Whether the bucket is there and was made with object lock. Needs s3:GetBucketObjectLockConfiguration."""
        bucket = self._settings.bucket
        try:
            self._access.call("s3", "GetObjectLockConfiguration", "ObjectLockConfiguration", Bucket=bucket)
        except Declined as no:
            message = f"S3 says {no.code} of the bucket {bucket}"
            if no.code == "ObjectLockConfigurationNotFoundError":
                message = f"the bucket {bucket} was made without object lock, so its objects can be changed"
            raise Refused(message, reason="no_object_lock", remedy="make a bucket with object lock") from None

    def close(self) -> None:
        """Close the connections."""
        self._access.close()
