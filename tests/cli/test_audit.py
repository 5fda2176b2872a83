"""The trail is signed, verified, proved and pruned by commands."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest

from tests.cli.house import House

SIGNED = "environment: test\naudit: {signing_key: file:audit.key, events: 5}\n"


@pytest.fixture
def signed(house: House) -> House:
    """A house whose trail is signed, after one pass."""
    house.change("environment: test\n", SIGNED)
    assert house.run("init").status == 0
    assert house.rotate().status == 0
    return house


def lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_a_pass_signs_and_what_is_kept_elsewhere_tells_of_a_cut_tail(signed: House) -> None:
    assert signed.run("audit", "checkpoint", "--now", "--output", "kept.txt").status == 0
    told = signed.run("audit", "verify", "--against", "kept.txt", "--json")
    assert (told.status, told.json["ok"]) == (0, True)
    assert told.json["checkpoints"] >= 1
    with sqlite3.connect(signed.folder / "rotator.db") as connection:
        for trigger in ("event_no_delete", "head_goes_on"):
            connection.execute(f"DROP TRIGGER {trigger}")
        connection.execute("DELETE FROM event WHERE seq > 3")
        seq, last = connection.execute("SELECT seq, hash FROM event ORDER BY seq DESC LIMIT 1").fetchone()
        connection.execute("UPDATE head SET seq = ?, hash = ?", (seq, last))
    told = signed.run("audit", "verify", "--against", "kept.txt", "--json")
    assert told.status == 1
    assert (told.json["problem"]["kind"], told.json["problem"]["seq"]) == ("regress", 4)


def test_one_event_is_proved_without_showing_another(signed: House) -> None:
    signed.run("audit", "checkpoint", "--now", "--output", "kept.txt")
    proof = signed.run("audit", "prove", "3", "--checkpoint", "kept.txt").out
    (signed.folder / "proof.json").write_text(proof, encoding="utf-8")
    shown = signed.run("audit", "verify", "--proof", "proof.json", "--against", "kept.txt")
    assert shown.status == 0
    assert json.loads(shown.out.splitlines()[1])["seq"] == 3
    assert '"seq":2' not in proof
    (signed.folder / "proof.json").write_text(proof.replace("succeeded", "failed").replace("started", "failed"))
    changed = signed.run("audit", "verify", "--proof", "proof.json")
    assert changed.status == 1
    assert "proves nothing" in changed.err


def test_what_does_not_lead_to_the_checkpoint_is_not_printed_as_a_proof(signed: House) -> None:
    signed.run("audit", "checkpoint", "--now")
    with sqlite3.connect(signed.folder / "rotator.db") as connection:
        connection.execute("DROP TRIGGER event_no_update")
        connection.execute("UPDATE event SET body = replace(body, 'succeeded', 'failed') WHERE seq = 2")
    told = signed.run("audit", "prove", "3")
    assert (told.status, told.out) == (2, "")
    assert "cannot be proved" in told.err
    for words in (("prove", "3", "--checkpoint", "none.txt"), ("verify", "--proof", "none.json")):
        assert "cannot read none" in signed.run("audit", *words).err


def test_a_trail_that_nobody_signs_says_so(house: House) -> None:
    for words in (("audit", "key"), ("audit", "checkpoint", "--now"), ("audit", "checkpoint")):
        told = house.run(*words)
        assert told.status == 2
        assert "To do:" in told.err


def test_a_key_that_cannot_be_read_is_a_finding_and_stops_no_work(signed: House) -> None:
    (signed.folder / "audit.key").rename(signed.folder / "gone.key")
    ran = signed.rotate("--now", "web")
    assert ran.status == 0
    found = [finding for finding in signed.run("status", "--json").json["findings"] if finding["kind"] == "unready"]
    assert [finding["message"] for finding in found] == [
        f"cannot read the secret in {signed.folder}/audit.key: No such file or directory"
    ]
    (signed.folder / "gone.key").rename(signed.folder / "audit.key")
    signed.rotate()
    assert signed.run("status", "--json").json["findings"] == []


def test_what_is_pruned_is_verified_first_and_the_chain_goes_on(signed: House) -> None:
    signed.run("audit", "checkpoint", "--now", "--output", "kept.txt")
    size = int((signed.folder / "kept.txt").read_text(encoding="utf-8").splitlines()[1])
    signed.run("audit", "export", "--output", "old.jsonl")
    young = signed.run("audit", "prune", "old.jsonl", "--yes")
    assert (young.status, "nothing to prune" in young.out) == (0, True)
    asked = signed.run("audit", "prune", "old.jsonl", "--keep", "0s")
    assert (asked.status, "nothing was pruned" in asked.err) == (2, True)
    dry = signed.run("audit", "prune", "old.jsonl", "--keep", "0s", "--dry-run")
    assert f"would prune events 1 to {size}" in dry.out
    pruned = signed.run("audit", "prune", "old.jsonl", "--keep", "0s", "--yes", "--reason", "yearly")
    assert pruned.status == 0, pruned.said
    assert signed.events()[0]["seq"] == size + 1
    assert signed.events()[-1]["event"] == "prune.succeeded"
    assert signed.rotate("--now", "web").status == 0
    alone = signed.run("audit", "verify", "--against", "kept.txt")
    assert (alone.status, f"events 1 to {size} were pruned" in alone.out) == (0, True)
    whole = signed.run("audit", "verify", "--export", "old.jsonl", "--against", "kept.txt", "--json").json
    assert (whole["ok"], whole["first"]) == (True, 1)
    signed.run("audit", "checkpoint", "--now")
    for seq, words in ((2, ("--export", "old.jsonl")), (size + 2, ())):
        (signed.folder / "proof.json").write_text(signed.run("audit", "prove", str(seq), *words).out, encoding="utf-8")
        assert signed.run("audit", "verify", "--proof", "proof.json").status == 0
    assert signed.run("audit", "prove", "2").status == 2
    with sqlite3.connect(signed.folder / "rotator.db") as connection, pytest.raises(sqlite3.IntegrityError):
        connection.execute("DELETE FROM event")


def test_nothing_is_pruned_that_is_not_exported_or_not_intact(signed: House) -> None:
    signed.run("audit", "checkpoint", "--now")
    signed.run("audit", "export", "--output", "old.jsonl")
    path = signed.folder / "old.jsonl"
    honest = path.read_text(encoding="utf-8")
    before = signed.events()
    path.write_text(honest.replace("enroll.succeeded", "enroll.failed", 1), encoding="utf-8")
    broken = signed.run("audit", "prune", "old.jsonl", "--keep", "0s", "--yes")
    assert (broken.status, "nothing is pruned" in broken.err) == (1, True)
    path.write_text("".join(honest.splitlines(keepends=True)[:3]), encoding="utf-8")
    short = signed.run("audit", "prune", "old.jsonl", "--keep", "0s", "--yes")
    assert (short.status, "old.jsonl ends there" in short.out) == (0, True)
    assert signed.events() == before


def test_what_is_open_keeps_its_events(signed: House) -> None:
    assert signed.rotate("--now", "web").status == 0  # its old key is being retired
    signed.run("audit", "checkpoint", "--now")
    signed.run("audit", "export", "--output", "old.jsonl")
    opened = next(e["seq"] for e in signed.events() if e["event"] == "retirement.started")
    told = signed.run("audit", "prune", "old.jsonl", "--keep", "0s", "--yes")
    assert told.status == 0, told.said
    assert [e["seq"] for e in signed.events() if e["event"] == "retirement.started"] == [opened]
