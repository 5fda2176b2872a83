"""The long-running service."""

from rotator.daemon.service import Daemon

__all__ = ["Daemon"]
