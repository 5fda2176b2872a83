"""What every command needs, imported and read once: by the server that is forked for each of them."""

from __future__ import annotations

import boto3
import botocore.session
import httpx
import hvac
import psycopg
import rich.console
import rich.table

import rotator.cli.rotating
import rotator.config
import rotator.engine.adoption
import rotator.wiring
from rotator.access.aws import models

__all__ = ["boto3", "httpx", "hvac", "psycopg", "rich", "rotator"]

_session = botocore.session.Session()
_session.register_component("data_loader", models())
for _service in ("iam", "secretsmanager", "sts"):
    _session.create_client(
        _service, region_name="us-east-1", aws_access_key_id="none", aws_secret_access_key="none"
    ).close()
