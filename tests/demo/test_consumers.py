from __future__ import annotations

from rotator.demo.consumers import Consumer, Crowd, Value


def consumer(found: list[Value | None], alive: str = "living") -> Consumer:
    """A consumer that finds these values, one at each look."""
    left = iter(found)
    return Consumer(address="place", read=lambda: next(left), works=lambda value: value["key"] == alive)


def test_an_empty_place_does_not_count_before_its_first_value() -> None:
    one = consumer([None, None, {"key": "living"}])
    for _ in range(3):
        one.look()
    assert (one.looks, one.bad) == (1, 0)


def test_a_dead_key_is_counted() -> None:
    one = consumer([{"key": "living"}, {"key": "dead"}, {"key": "living"}])
    for _ in range(3):
        one.look()
    assert (one.looks, one.bad, one.trouble) == (3, 1, "look 2 at place: it met a dead key")


def test_a_place_that_was_emptied_is_an_outage() -> None:
    one = consumer([{"key": "living"}, None])
    one.look()
    one.look()
    assert (one.bad, one.trouble) == (1, "look 2 at place: it found nothing")


def test_a_failing_look_is_an_outage_and_does_not_end_the_consumer() -> None:
    one = consumer([{"other": "field"}, {"key": "living"}])
    one.look()
    one.look()
    assert (one.looks, one.bad, one.trouble) == (2, 1, "look 1 at place: it failed: KeyError")


def test_a_crowd_reads_while_its_block_runs() -> None:
    one = Consumer(address="place", read=lambda: {"key": "living"}, works=bool)
    crowd = Crowd([one])
    with crowd:
        while crowd.looks < 2:
            pass
    assert crowd.proof() == f"{crowd.looks} looks at 1 destinations, 0 met a dead key"
    assert crowd.troubles() == []


def test_a_consumer_that_never_finds_anything_is_told() -> None:
    with Crowd([Consumer(address="place", read=lambda: None, works=bool)]) as crowd:
        pass
    assert crowd.troubles() == ["nothing was ever found at place"]
