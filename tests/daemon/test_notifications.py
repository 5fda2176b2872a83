"""A daemon that tells people, and a receiver that is killed for a while."""

from __future__ import annotations

import json
from pathlib import Path

from tests.cli.house import House, until
from tests.daemon.conftest import SHORT, Start
from tests.notifiers.receiver import KEY, receiving

ROUTE = """
notify:
  routes:
    ops:
      webhook: {url}
      sign: file:sign
      events: [rotation.succeeded]
      group_wait: 0s
      group_interval: 1ms
      repeat: 0s
"""
SECOND = """\
  mail: {provider: local, destinations: [{to: app, fields: {MAIL: "{secret}"}}]}
"""


def rotations(house: House) -> list[int]:
    """The sequence number of each that succeeded."""
    with house.opened() as service:
        events = [json.loads(event.body) for event in service.store.events()]
    return [event["seq"] for event in events if event["event"] == "rotation.succeeded"]


def test_a_receiver_that_is_killed_for_a_while_hears_everything_in_order(
    house: House, start: Start, tmp_path: Path
) -> None:
    (tmp_path / "received").mkdir()
    with receiving(tmp_path / "received") as receiver:
        house.write(SHORT.format(url="sqlite:///rotator.db") + SECOND + ROUTE.format(url=receiver.url))
        (house.folder / "sign").write_text(KEY)
        daemon = start("--interval", "300ms")
        until(lambda: len(receiver.notices) >= 2)
        receiver.kill()
        before = len(rotations(house))
        until(lambda: len(rotations(house)) >= before + 4)  # nobody waits for it
        receiver.start()
        until(lambda: len(receiver.notices) >= before + 4)
        assert daemon.stop() == 0
        assert house.rotate("--fail-on", "never").status == 0  # tells what the daemon had no more time for
        told = [notice["seq"] for notice in receiver.notices]
    # At least once: what its receiver had accepted when it died may come again; and else all is in order.
    assert list(dict.fromkeys(told)) == rotations(house)
    assert len(told) - len(set(told)) <= 2
