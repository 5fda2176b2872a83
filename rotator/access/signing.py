"""How a POST of ours is signed, so that whoever gets it can tell that it comes from here, and when."""

from __future__ import annotations

import hashlib
import hmac

SIGNATURE = "Rotator-Signature"
"""The header of a signed POST: `t=<seconds since 1970>,v1=<HMAC-SHA256, in hex, over "<t>." and the body>`."""


def signature(key: bytes, body: bytes, at: int) -> str:
    """The value of the header. Whoever checks it should also refuse one whose time is long ago."""
    return f"t={at},v1={hmac.new(key, f'{at}.'.encode() + body, hashlib.sha256).hexdigest()}"
