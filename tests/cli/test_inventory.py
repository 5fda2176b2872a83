"""`rotator inventory`: every key of an account, with no more than a key that may list."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any
from uuid import uuid4

import pytest
import yaml

from rotator.testbed.aws import Aws
from rotator.testbed.openai_emulator import OpenAIEmulator
from tests.cli.house import House, Ran

DAY = 86_400

CONFIGURED = """\
environment: test
providers: {openai: {type: openai, admin_key: env:OPENAI_ADMIN_KEY, base_url: URL}, local: {type: generated}}
destinations: {app: {type: env-file, path: app.env}}
defaults: {policy: {rotate_every: 30d, min_interval: 0s, settle: 0s}}
credentials:
  web:
    provider: openai
    options: {project: proj_emulated, service_account: svc_acct_emulated}
    destinations: [{to: app}]
"""


@pytest.fixture
def account(house: House, openai: OpenAIEmulator) -> Callable[..., Ran]:
    """`account(…)` runs `rotator inventory …` as somebody who has a listing key in a variable and nothing else."""
    openai.admin_key_state = "read_only"

    def run(*words: str, config: bool = False) -> Ran:
        given = () if config else ("--type", "openai", "--set", f"base_url={openai.url}", "--admin-key", "env:LIST")
        secrets = {"LIST": openai.admin_key, "OPENAI_ADMIN_KEY": openai.admin_key}
        return house.run("inventory", *given, *words, env=secrets)

    return run


def at_days(openai: OpenAIEmulator, days: float) -> None:
    openai.clock = lambda: time.time() + days * DAY


def by_id(ran: Ran) -> Mapping[str, dict[str, Any]]:
    return {row["key_id"]: row for row in ran.json["keys"]}


def test_every_key_of_the_account_is_listed_with_what_the_provider_tells(
    house: House, openai: OpenAIEmulator, account: Callable[..., Ran]
) -> None:
    for file in ("rotator.yaml", "rotator.key", "rotator.db"):
        (house.folder / file).unlink()
    at_days(openai, -100)
    sleeping, busy = openai.make_key(name="sleeping"), openai.make_key(name="busy")
    at_days(openai, -50)
    openai.consume(sleeping.secret)
    at_days(openai, -3)
    openai.consume(busy.secret)
    at_days(openai, 0)
    people = [openai.make_key(name=f"key {n}", owner="user_emulated") for n in range(120)]
    gone = openai.make_key(name="lost its access", owner="user_emulated", owner_has_access=False)
    ran = account("--json")
    assert ran.status == 0, ran.said
    found = by_id(ran)
    assert found.keys() == {sleeping.id, busy.id, *(key.id for key in people), gone.id, "key_admin"}
    assert found[sleeping.id]["older_than_90_days"]
    assert found[sleeping.id]["unused_for_45_days"]
    assert (found[busy.id]["older_than_90_days"], found[busy.id]["unused_for_45_days"]) == (True, False)
    assert found[busy.id]["age_seconds"] // DAY == 100
    assert found[busy.id]["holder"] == "service account Emulated service account of project Emulated project"
    assert found[busy.id]["options"] == {"project": openai.project, "service_account": openai.service_account}
    assert found[gone.id]["holder"] == "user person@example.com of project Emulated project"
    assert (found[gone.id]["options"], found[gone.id]["managed"]) == (None, None)
    told = account()
    assert "124 keys: 2 older than 90 days, 1 unused for 45 days" in told.out
    (line,) = (line for line in told.out.splitlines() if sleeping.id in line)
    assert "older than 90 days, unused for 45 days" in line
    assert "not known" in line


def test_managed_keys_and_who_serves_them_are_told_without_the_sealing_key(
    house: House, openai: OpenAIEmulator, account: Callable[..., Ran]
) -> None:
    openai.admin_key_state = "valid"
    house.write(CONFIGURED.replace("URL", openai.url))
    stranger = openai.make_key(name="a stranger", owner="user_emulated")
    assert house.run("rotate", env={"OPENAI_ADMIN_KEY": openai.admin_key}).status == 0
    ours = openai.keys()[-1]
    assert ours.id != stranger.id
    openai.admin_key_state = "read_only"
    (house.folder / "rotator.key").unlink()
    events = house.happened("create.succeeded"), len(house.events())
    found = by_id(account("--json", config=True))
    assert (found[ours.id]["managed"], found[ours.id]["credential"]) == (True, "web")
    assert found[ours.id]["served_at"] == [f"env-file:{house.folder}/app.env"]
    assert (found[stranger.id]["managed"], found[stranger.id]["served_at"]) == (False, [])
    assert (house.happened("create.succeeded"), len(house.events())) == events
    (house.folder / "rotator.db").unlink()
    ran = account(config=True)
    assert ran.status == 0
    assert "not told: whether a key is managed, since the database was not read" in ran.err
    assert not (house.folder / "rotator.db").exists()


def test_a_place_that_cannot_be_read_is_named_and_stops_nothing(
    house: House, openai: OpenAIEmulator, account: Callable[..., Ran]
) -> None:
    house.write(CONFIGURED.replace("URL", openai.url).replace("path: app.env", "path: folder"))
    key = openai.make_key(name="by hand")
    (house.folder / "folder").mkdir()
    ran = account(config=True)
    assert ran.status == 0
    assert key.id in ran.out
    assert f"not told: web: env-file:{house.folder}/folder: " in ran.err


def test_proposals_are_for_what_nothing_rotates_and_load_once_filled_in(
    house: House, openai: OpenAIEmulator, account: Callable[..., Ran]
) -> None:
    openai.make_key(name="by hand")
    person = openai.make_key(name="of a person\nwith a line", owner="user_emulated")
    ran = account("--as", "config")
    (entry,) = yaml.safe_load(ran.out)["credentials"].values()
    assert entry["options"] == {"project": openai.project, "service_account": openai.service_account}
    assert entry["policy"]["first"] == "adopt"
    assert f"# {person.id}, user person@example.com" in ran.out
    proposed = ran.out.replace("{to: DESTINATION, path: PATH}", "{to: app}")
    house.write(CONFIGURED.replace("URL", openai.url).partition("credentials:")[0] + proposed)
    assert house.run("policy", "svc_acct_emulated").status == 0
    configured = account("--as", "config", config=True)
    assert "No key was found that could be rotated and is not" in configured.out


def test_users_of_iam_page_by_page(house: House, aws: Aws) -> None:
    tag = uuid4().hex[:8]
    lister = aws.user(f"lister-{tag}", allow=("iam:List*", "iam:Get*", "sts:*"))
    users = [f"batch-{tag}-{number:03}" for number in range(105)]  # moto, as IAM, gives 100 a page
    iam = aws.client("iam")
    for user in users:
        iam.create_user(UserName=user)
    keys = {user: iam.create_access_key(UserName=user)["AccessKey"]["AccessKeyId"] for user in (users[0], users[-1])}
    iam.update_access_key(UserName=users[0], AccessKeyId=keys[users[0]], Status="Inactive")
    where = ("--set", f"endpoint_url={aws.url}", "--set", "access_key_id=env:ID", "--set", "secret_access_key=env:KEY")
    secrets = {"ID": lister.access_key_id, "KEY": lister.secret_access_key}
    ran = house.run("inventory", "--type", "aws-iam", *where, "--json", env=secrets)
    assert ran.status == 0, ran.said
    found = by_id(ran)
    assert [found[key]["options"] for key in keys.values()] == [{"user": user} for user in keys]
    assert [found[key]["enabled"] for key in keys.values()] == [False, True]
    assert found[lister.access_key_id]["last_used_by"] is not None
    assert found[lister.access_key_id]["account"] == f"aws:{aws.account}"
    for user in users:
        for key in iam.list_access_keys(UserName=user)["AccessKeyMetadata"]:
            iam.delete_access_key(UserName=user, AccessKeyId=key["AccessKeyId"])
        iam.delete_user(UserName=user)
    iam.close()


def test_what_is_wrong_is_said_with_what_to_do(house: House, openai: OpenAIEmulator) -> None:
    ran = house.run("inventory", "--type", "opnai")
    assert (ran.status, "did you mean `openai`" in ran.err) == (2, True)
    ran = house.run("inventory", "--type", "openai")
    assert (ran.status, "openai: admin_key: is missing" in ran.err) == (2, True)
    assert "--admin-key env:NAME" in ran.err
    assert house.run("inventory", "--type", "openai", "--admin-key", "env:NOWHERE").status == 2
    ran = house.run("inventory", "--type", "openai", "--admin-key", "sk-admin-CANARY-written-on-the-line")
    assert ran.status == 2
    assert "CANARY" not in ran.said
    assert house.run("inventory", "--admin-key", "env:X").status == 2
    ran = house.run("inventory", "--provider", "loca")
    assert (ran.status, "did you mean `local`" in ran.err) == (2, True)
    ran = house.run("inventory", "--provider", "local")
    assert (ran.status, "local cannot list the keys of a whole account" in ran.err) == (2, True)
    wrong = ("inventory", "--type", "openai", "--set", f"base_url={openai.url}", "--admin-key", "env:WRONG")
    ran = house.run(*wrong, env={"WRONG": "sk-admin-CANARY-wrong"})
    assert ran.status == 1
    assert "is wrong or has expired" in ran.err or "admin_key_rejected" in ran.err
