"""The whole job on this machine: real servers on loopback, three credentials, and consumers that never stop reading."""

from rotator.demo.main import run

__all__ = ["run"]
