"""The tutorial and the how-to pages are played from top to bottom, each in one shell, against servers on this machine.

A configuration stays as its page has it, but for where the servers are and how fast keys settle; `/srv` is a folder.
"""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import pytest
import yaml
from psycopg import connect
from sqlalchemy import make_url

from rotator.cli import commands
from rotator.demo.stage import PERMISSIONS
from rotator.testbed.aws import Aws, AwsKey
from rotator.testbed.openai_emulator import OpenAIEmulator
from rotator.testbed.openbao import OpenBao
from rotator.testbed.postgres import Postgres
from rotator.testbed.process import free_port
from tests.docs.test_complete import ALL_PAGES, ROOT
from tests.docs.test_examples import BLOCK, PLAYED, shell

LISTEN = "127.0.0.1:9464"
"""Where pages let things listen; another port is taken here, since pages are played side by side."""

_FILE = re.compile(r"<!-- file: (?P<name>\S+) -->\n$")
_RUN_ELSEWHERE = re.compile(r"<!-- (run by (?P<test>tests/\S+)|not run: .+) -->\n$")


@dataclass(frozen=True)
class World:
    """The servers that a page needs, begun when it names their kind, and what its reader has in the environment."""

    folder: Path
    openai: OpenAIEmulator
    vault: OpenBao | None
    aws: Aws | None
    environment: Mapping[str, str]


@pytest.fixture(scope="module")
def vault() -> Iterator[OpenBao]:
    """Whose paths are those of the pages."""
    with OpenBao() as server:
        yield server


@pytest.fixture(scope="module")
def account() -> Iterator[tuple[Aws, AwsKey]]:
    """The account of the pages, with the user whose keys are rotated, and the key that the service works with."""
    with Aws(authentication=True) as server:
        server.client("iam").create_user(UserName="ci-deployer")
        yield server, server.user("rotator", allow=PERMISSIONS)


@pytest.fixture(params=PLAYED, ids=lambda page: str(page.stem))
def page(request: pytest.FixtureRequest) -> str:
    """The text of a page."""
    return str(request.param.read_text(encoding="utf-8"))


@pytest.fixture
def world(page: str, tmp_path: Path, openai: OpenAIEmulator, request: pytest.FixtureRequest) -> World:
    """What the page talks about; the env file holds a key that a person made where the page adopts one."""
    web = tmp_path / "srv" / "web"
    web.mkdir(parents=True)
    if "rotator adopt openai-web" in page:
        web.joinpath(".env").write_text(f"OPENAI_API_KEY={openai.make_key(name='by hand').secret}\n", encoding="utf-8")
    environment = {**shell(tmp_path), "OPENAI_ADMIN_KEY": openai.admin_key}
    vault = request.getfixturevalue("vault") if "vault-kv" in page else None
    if vault is not None:
        environment |= {"VAULT_ADDR": vault.url, "VAULT_TOKEN": vault.token}
        (tmp_path / "bin" / "vault").symlink_to(vault.command()[0])
    aws, key = request.getfixturevalue("account") if "aws-iam" in page else (None, None)
    if key is not None:
        environment |= {"AWS_ACCESS_KEY_ID": key.access_key_id, "AWS_SECRET_ACCESS_KEY": key.secret_access_key}
    if "type: postgres" in page:
        server = request.getfixturevalue("postgres")
        environment["PG_ROTATOR_PASSWORD"] = _logins(page, server)
        environment["PG_PORT"] = str(server.port)
    if "env:DATABASE_URL" in page:
        environment["DATABASE_URL"] = request.getfixturevalue("postgres").fresh_url()
    return World(tmp_path, openai, vault, aws, environment)


def _logins(page: str, server: Postgres) -> str:
    """Do what the page has an administrator do; the password that it names."""
    where = make_url(server.url())
    statements = next(block["text"] for block in BLOCK.finditer(page) if block["language"] == "sql")
    with connect(
        host=where.host, port=where.port, user=where.username, password=where.password, dbname="postgres"
    ) as connection:
        connection.execute(statements.replace("rotator", "page_rotator"))
    return "a long one"


def test_a_page_works_from_top_to_bottom(page: str, world: World) -> None:
    done = subprocess.run(
        ["bash", "-euxo", "pipefail", "-c", script(page, world)],
        cwd=world.folder,
        env=world.environment,
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
    )
    assert done.returncode == 0, done.stdout


def script(page: str, world: World) -> str:
    """What a reader types, and the files that they are told to write, in order."""
    listen = f"127.0.0.1:{free_port()}"
    lines = []
    for block in BLOCK.finditer(page):
        named = _FILE.search(page[: block.start()])
        if named:
            body = yaml.safe_dump(here(yaml.safe_load(block["text"]), world), sort_keys=False)
            lines.append(f"printf %s {shlex.quote(body)} > {named['name']}")
        elif block["mark"]:
            lines.append(block["text"].replace("/srv/", f"{world.folder}/srv/").replace(LISTEN, listen))
    return "\n".join(lines)


def here(document: dict[str, Any], world: World) -> dict[str, Any]:
    """The configuration with the addresses of this machine's servers, and quick."""
    document["engine"] = {"lease": "10s", "call_budget": "5s", "retry": {"first": "500ms", "most": "5s"}}
    document["defaults"] = {"policy": {"settle": "400ms"}}
    for entry in [*document["providers"].items(), *document["destinations"].items()]:
        match entry[1].get("type", entry[0]), entry[1]:
            case "openai", settings:
                settings["base_url"] = world.openai.url
            case "aws-iam" | "aws-secrets-manager", settings:
                settings["endpoint_url"] = world.aws.url if world.aws else None
            case "vault-kv", settings:
                settings["address"] = world.vault.url if world.vault else None
            case "postgres", settings:  # whose superuser here is called as the page calls our role
                settings |= {"host": "127.0.0.1", "port": int(world.environment["PG_PORT"]), "user": "page_rotator"}
            case "env-file", settings:
                settings["path"] = settings["path"].replace("/srv/", f"{world.folder}/srv/")
    for credential in document["credentials"].values():
        if credential["provider"] == "openai":
            ours = {"project": world.openai.project, "service_account": world.openai.service_account}
            credential["options"] |= ours
    return document


@pytest.mark.parametrize("page", ALL_PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_of_the_documentation_is_run_or_says_why_not(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for block in BLOCK.finditer(text):
        if block["language"] == "sh" and not block["mark"]:
            said = _RUN_ELSEWHERE.search(text[: block.start()])
            assert said, f"neither run nor excused: {block['text']}"
            if said["test"] is not None:
                missing = _not_run(block["text"], page.name, (ROOT / said["test"]).read_text(encoding="utf-8"))
                assert not missing, f"{said['test']} does not run {missing}"


def _not_run(block: str, page: str, test: str) -> list[str]:
    """Which verbs and options of our commands a test does not have; none where it runs the page as it stands."""
    if page in test and page != "README.md":
        return []
    said = [line.partition(" #")[0].split() for line in re.split(r"[|;\n]", block)]
    ours = [word for words in said if words and words[0] in ("rotate", "rotator") for word in _verbs_and_options(words)]
    return [word for word in ours if not re.search(rf"(?<![\w-]){re.escape(word)}(?![\w-])", test)]


def _verbs_and_options(words: list[str]) -> Iterator[str]:
    """Without what is given to them."""
    group: click.Command | None = commands if words[0] == "rotator" else None
    for word in words[1:]:
        if word.startswith("--"):
            yield word
        elif isinstance(group, click.Group) and (verb := group.get_command(click.Context(group), word)) is not None:
            group = verb
            yield word


def test_a_mark_that_names_a_test_which_runs_something_else_is_found() -> None:
    command = "echo x | rotator leak report --yes alert.json  # and `more`\n"
    assert _not_run(command, "leaks.md", 'house.run("leak", "report", "--yes")') == []
    assert _not_run(command, "leaks.md", 'house.run("leak", "--yes-no")') == ["report", "--yes"]
    assert _not_run(command, "leaks.md", "runs leaks.md") == []
