"""A webhook of our own: one POST of JSON for each message, signed as the POST of a `reload` hook is.

What is signed: `<t>.` and the body, byte for byte, under the key of `sign` (HMAC-SHA256). A receiver refuses what is
replayed by two looks: `t` is no older than five minutes, and the message's `id`, which is in the signed body, was not
accepted before. A message that is sent again because its answer was lost has the same `id` and a new `t`.

Redirects are not followed, and no proxy of the environment is used.
"""

from __future__ import annotations

import json
import time
from datetime import timedelta
from http import HTTPStatus
from typing import Annotated, ClassVar

from pydantic import AfterValidator

from rotator.access.http import api_address, send_once
from rotator.access.signing import SIGNATURE, signature
from rotator.domain.errors import RateLimited, SetupError, TemporaryError
from rotator.domain.messages import Message
from rotator.settings import FilePath, SecretAt, Settings


class WebhookSettings(Settings):
    """`{webhook: https://alerts.internal/rotator, sign: env:HOOK_KEY}`."""

    webhook: Annotated[str, AfterValidator(api_address)]
    sign: SecretAt
    ca_file: FilePath | None = None


class Webhook:
    """Any answer of 2xx accepts the message."""

    Settings: ClassVar[type[WebhookSettings]] = WebhookSettings

    def __init__(self, settings: WebhookSettings, limit: timedelta) -> None:
        self._settings = settings
        self._limit = limit.total_seconds()

    @property
    def name(self) -> str:
        """The address without its query."""
        return f"webhook {self._settings.webhook.partition('?')[0]}"

    def trouble(self) -> str | None:
        """Whether the signing key and the certificates can be read."""
        try:
            self._settings.sign.read()
        except SetupError as problem:
            return problem.message
        path = self._settings.ca_file
        return f"there is no file {path}" if path is not None and not path.is_file() else None

    def send(self, message: Message) -> None:
        """Send it within the limit."""
        body = json.dumps(message.as_json(), ensure_ascii=False).encode()
        key = self._settings.sign.read().reveal().encode()
        headers = {"Content-Type": "application/json", SIGNATURE: signature(key, body, int(time.time()))}
        reply = send_once(
            "POST", self._settings.webhook, self._settings.ca_file, self._limit, headers, body, "send a message"
        )
        if HTTPStatus.OK <= reply.status < HTTPStatus.MULTIPLE_CHOICES:
            return
        said = f"{self.name} answered {reply.status}"
        if reply.status == HTTPStatus.TOO_MANY_REQUESTS:
            raise RateLimited(said, retry_after=reply.retry_after)
        raise TemporaryError(said, reason="not_accepted")
