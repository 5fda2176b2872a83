"""moto's server, which refuses inactive access keys as AWS does: `python -m rotator.testbed.aws_server`."""

from __future__ import annotations

from typing import Any

from moto.iam import access_control
from moto.server import main


class ActiveKey(access_control.IAMUserAccessKey):
    """An access key of a user, which is known only while it is active."""

    def __init__(self, account_id: str, partition: str, access_key_id: str, headers: dict[str, str]) -> None:
        super().__init__(account_id, partition, access_key_id, headers)
        for user in self.backend.list_users("/", None, None):
            for key in user.access_keys:
                if key.access_key_id == access_key_id and key.status != "Active":
                    raise access_control.CreateAccessKeyFailure(reason="InvalidId")


if __name__ == "__main__":
    patched: Any = access_control
    patched.IAMUserAccessKey = ActiveKey
    main()
