"""What the settings of every sink have in common."""

from __future__ import annotations

from typing import Literal

from rotator.settings import Settings


class SinkSettings(Settings):
    """The lines of a sink: the trail itself, or the same facts in the words of a standard."""

    format: Literal["json", "ocsf", "ecs", "cef"] = "json"
