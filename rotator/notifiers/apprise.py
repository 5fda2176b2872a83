"""Apprise: Slack, Teams, mail, PagerDuty and a hundred more, by the library of that name (the extra `notify`).

Its addresses hold tokens and passwords, so each is a secret: named in the configuration, read when it is used, and in
no message of ours. What the library itself logs is left out for the same reason.
"""

from __future__ import annotations

import logging
import warnings
from datetime import timedelta
from importlib.util import find_spec
from typing import Any, ClassVar

from rotator.domain.errors import SetupError, TemporaryError
from rotator.domain.messages import Message
from rotator.domain.notices import Severity
from rotator.settings import SecretAt, Settings

_TYPES = {Severity.CRITICAL: "failure", Severity.WARNING: "warning", Severity.INFO: "info"}
_SILENT = logging.CRITICAL + 1


class AppriseSettings(Settings):
    """`{apprise: env:SLACK_URL}`: where the address is, of one receiver."""

    apprise: SecretAt


class Apprise:
    """One address of the library's own form, such as `slack://TokenA/TokenB/TokenC/#oncall`."""

    Settings: ClassVar[type[AppriseSettings]] = AppriseSettings

    def __init__(self, settings: AppriseSettings, limit: timedelta) -> None:
        self._settings = settings
        self._limit = limit.total_seconds()

    @property
    def name(self) -> str:
        """Where the address is."""
        return f"apprise {self._settings.apprise.text}"

    def trouble(self) -> str | None:
        """Whether the library is there, and knows the address."""
        try:
            self._opened()
        except SetupError as problem:
            return f"{problem.message}; {problem.remedy}" if problem.remedy else problem.message
        return None

    def send(self, message: Message) -> None:
        """Have it sent within the limit."""
        try:
            accepted = bool(
                self._opened().notify(
                    body=message.text,
                    title=message.title,
                    notify_type=_TYPES[message.severity],
                    body_format="text",
                    timeout=self._limit,
                )
            )
        except SetupError:
            raise
        except Exception as problem:  # noqa: BLE001 - what a plugin raises may quote the address
            why = f"its plugin for this address raised {type(problem).__name__}"
            raise TemporaryError(why, reason="not_accepted") from None
        if not accepted:
            why = f"the receiver at {self._settings.apprise.text} did not accept it"
            raise TemporaryError(why, reason="not_accepted")

    def _opened(self) -> Any:
        """The library with this one address. Raises SetupError."""
        if find_spec("apprise") is None:
            message = "the library apprise is not installed"
            raise SetupError(message, remedy="pip install 'keyturn[notify]'")
        address = self._settings.apprise.read().reveal().strip()
        logging.getLogger("apprise").setLevel(_SILENT)
        warnings.filterwarnings("ignore", category=DeprecationWarning, module=r"apprise\b")  # its authors' affair
        import apprise

        # Nothing is kept on disk, no redirect takes a token elsewhere, and the call ends where it began.
        asset = apprise.AppriseAsset(async_mode=False, storage_mode="memory", http_redirects=False)
        opened: Any = apprise.Apprise(asset=asset)
        try:
            known = opened.add(address)
        except Exception:  # noqa: BLE001 - as above
            known = False
        if not known or len(opened) != 1:
            message = f"what stands at {self._settings.apprise.text} is not one address that apprise knows"
            raise SetupError(message, remedy="see https://appriseit.com/services/; another receiver is another route")
        return opened
