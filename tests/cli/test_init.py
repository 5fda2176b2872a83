"""`init`: starter files that work, and never a file overwritten."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from rotator.cli.starter import IGNORED, Answers, configuration
from rotator.config import load
from rotator.testbed.openbao import OpenBao
from tests.cli.house import House
from tests.conftest import Canaries


@pytest.fixture
def bare(tmp_path: Path, canary: Canaries) -> House:
    """A folder with nothing in it."""
    folder = tmp_path / "bare"
    folder.mkdir()
    return House(folder, canary)


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_what_init_writes_works_at_once(bare: House) -> None:
    made = bare.run("init")
    assert (made.status, made.err) == (0, "")
    assert "Back it up now" in made.out
    assert "Next: `rotator check`, then `rotate`" in made.out
    assert mode(bare.folder / "rotator.key") == 0o600
    assert mode(bare.folder / "rotator.db") == 0o600
    checked = bare.run("check")
    assert (checked.status, checked.err) == (0, "")
    assert bare.rotate().status == 0
    assert bare.values().keys() == {"SESSION_SECRET"}
    assert mode(bare.folder / "app.env") == 0o600
    bare.prove_silence()


def test_everything_secret_that_comes_to_be_is_among_the_lines_for_gitignore(bare: House) -> None:
    made = bare.run("init")
    bare.rotate()
    ignored = (*IGNORED, "app.env")
    for line in ignored:
        assert f"\n  {line}\n" in made.out
    (bare.folder / ".gitignore").write_text("\n".join(ignored), encoding="utf-8")
    subprocess.run(["git", "init", "-q"], cwd=bare.folder, check=True)
    seen = subprocess.run(
        ["git", "status", "--porcelain"], cwd=bare.folder, check=True, capture_output=True, text=True
    ).stdout
    assert seen.split() == ["??", ".gitignore", "??", "rotator.yaml"]


def test_init_overwrites_nothing_and_names_what_exists(bare: House) -> None:
    bare.run("init")
    bare.rotate()
    before = {path.name: path.read_bytes() for path in bare.folder.iterdir()}
    again = bare.run("init")
    assert again.status == 0
    assert again.out.count("exists and is left as it is") == 4
    assert {path.name: path.read_bytes() for path in bare.folder.iterdir()} == before


def test_init_makes_what_a_configuration_of_ones_own_names(bare: House) -> None:
    (bare.folder / "rotator.yaml").write_text("seal: {key: file:my.key}\nstore: {url: 'sqlite:///my.db'}\n")
    assert bare.run("init").status == 0
    assert {path.name for path in bare.folder.iterdir()} >= {"my.key", "my.db"}
    assert not (bare.folder / "rotator.key").exists()


def test_init_in_another_folder_makes_it_and_names_the_file_in_what_follows(bare: House) -> None:
    made = bare.run("init", "--dir", "deep/down")
    assert made.status == 0
    assert "rotator check --config deep/down/rotator.yaml" in made.out
    assert bare.run("check", "--config", "deep/down/rotator.yaml").status == 0


def test_a_lost_key_is_not_replaced_where_a_database_needs_it(bare: House) -> None:
    bare.run("init")
    (bare.folder / "rotator.key").unlink()
    ran = bare.run("init")
    assert ran.status == 2
    assert "put the key back from its backup" in ran.err
    assert not (bare.folder / "rotator.key").exists()


def test_init_with_a_wrong_configuration_makes_nothing(bare: House) -> None:
    (bare.folder / "rotator.yaml").write_text("credential: {}\n", encoding="utf-8")
    ran = bare.run("init")
    assert ran.status == 2
    assert "did you mean `credentials`?" in ran.err
    assert [path.name for path in bare.folder.iterdir()] == ["rotator.yaml"]


def test_the_examples_in_the_starter_file_are_right(tmp_path: Path) -> None:
    config = load(uncommented(tmp_path / "rotator.yaml", configuration(Answers())))
    assert list(config.credentials) == ["session-secret", "openai-web", "deployer"]
    assert list(config.providers) == ["local", "openai", "aws", "anthropic", "manual"]
    assert list(config.destinations) == ["app", "vault", "sm"]


def uncommented(path: Path, text: str) -> Path:
    """The file with every example in it taken for real."""
    example = re.compile(r"^( *)# ( *)(- |[a-z0-9-]+:)", re.MULTILINE)
    head, sep, rest = text.partition("environment:")
    path.write_text(head + sep + example.sub(r"\1\2\3", rest), encoding="utf-8")
    return path


# Questions


def test_on_a_terminal_it_asks_and_the_answers_work(bare: House) -> None:
    made = bare.on_terminal("init", typed="prod\nsqlite:///keys.db\n12h\nweb.env\nJWT_KEY\n")
    assert made.status == 0, made.out
    for question in ("Name of the environment", "[dev]", "Env file that its consumers read [app.env]"):
        assert question in made.out
    config = load(bare.folder / "rotator.yaml")
    assert config.environment == "prod"
    assert (bare.folder / "keys.db").is_file()
    assert bare.run("check").status == 0
    assert bare.rotate().status == 0
    assert bare.values("web.env").keys() == {"JWT_KEY"}
    asked_again = bare.on_terminal("init")
    assert "Name of the environment" not in asked_again.out


def test_what_an_option_says_is_not_asked(bare: House) -> None:
    flags = ("--environment", "prod", "--store", "sqlite:///x.db", "--every", "12h", "--file", "w.env", "--field", "K")
    assert bare.on_terminal("init", *flags).status == 0
    assert bare.run("check").status == 0
    assert (bare.folder / "x.db").is_file()


def test_nothing_is_asked_without_a_terminal(bare: House) -> None:
    made = bare.run("init", "--environment", "on")
    assert (made.status, made.err) == (0, "")
    assert load(bare.folder / "rotator.yaml").environment == "on"


@pytest.mark.parametrize(
    ("flag", "value", "said"),
    [
        ("--environment", "not a name", "environment"),
        ("--every", "monthly", "rotate_every"),
        ("--field", "not-a-name: {", "SESSION"),
        ("--store", "postgresql://me:pass-word@host/db", "store.url"),
    ],
)
def test_an_answer_that_cannot_work_leaves_nothing_behind(bare: House, flag: str, value: str, said: str) -> None:
    ran = bare.run("init", flag, value)
    if said != "SESSION":
        assert ran.status == 2
        assert said in ran.err
        assert "pass-word" not in ran.err
        assert not list(bare.folder.iterdir())
    else:
        assert bare.run("check").status == 1


# Keys that exist already

AWS_FILE = """\
[default]
aws_access_key_id = AKIAEXAMPLE
aws_secret_access_key = {0}
[sso]
aws_access_key_id = ASIAEXAMPLE
aws_secret_access_key = {0}
aws_session_token = {0}
"""


def test_keys_that_exist_are_found_and_proposed_by_name_and_fingerprint(bare: House, canary: Canaries) -> None:
    web, aws = bare.folder / "web.env", bare.folder / "credentials"
    web.write_text(
        f"OPENAI_API_KEY={canary()}\nexport DB_PASSWORD='{canary()}'\nPORT=80\nPUBLIC_KEY=1\n"
        f"ANTHROPIC_API_KEY={canary()}\n"
        f"AWS_ACCESS_KEY_ID=AKIAEXAMPLE\nAWS_SECRET_ACCESS_KEY={canary()}\n",
        encoding="utf-8",
    )
    aws.write_text(AWS_FILE.format(canary()), encoding="utf-8")
    before = web.read_bytes()
    made = bare.run("init", "--from", "web.env", "--from", "aws", env={"AWS_SHARED_CREDENTIALS_FILE": str(aws)})
    assert made.status == 0, made.err
    found = re.findall(
        r"^found (\S+)(?: \((\w+)\))? at (.+), fingerprint ([0-9a-f]{32}): (\S+)$", made.out, re.MULTILINE
    )
    at = f"env-file:{web}"
    assert [(name, key_id, place, proposed) for name, key_id, place, _, proposed in found] == [
        ("OPENAI_API_KEY", "", at, "openai-api-key"),
        ("DB_PASSWORD", "", at, "db-password"),
        ("ANTHROPIC_API_KEY", "", at, "anthropic-api-key"),
        ("AWS_SECRET_ACCESS_KEY", "", at, "aws-secret-access-key"),
        ("aws-default", "AKIAEXAMPLE", f"{aws} [default]", "aws-default"),
    ]
    assert len({fingerprint for *_, fingerprint, _ in found}) == 5
    assert web.read_bytes() == before
    text = (bare.folder / "rotator.yaml").read_text(encoding="utf-8")
    assert not canary.found_in(text)
    assert bare.run("check").status == 0
    config = load(uncommented(bare.folder / "all.yaml", text))
    assert [config.credentials[proposed].provider for *_, proposed in found] == [
        "openai",
        "manual",
        "anthropic",
        "aws",
        "aws",
    ]
    assert all(config.credentials[proposed].policy.first == "adopt" for *_, proposed in found)
    bare.prove_silence()


def test_where_a_configuration_exists_the_proposals_are_printed(bare: House, canary: Canaries) -> None:
    bare.run("init")
    before = (bare.folder / "rotator.yaml").read_bytes()
    (bare.folder / "web.env").write_text(f"API_TOKEN={canary()}\n", encoding="utf-8")
    made = bare.run("init", "--from", "web.env")
    assert "# api-token:" in made.out
    assert "first: adopt" in made.out
    assert (bare.folder / "rotator.yaml").read_bytes() == before


def test_keys_in_vault_are_found(bare: House, canary: Canaries, openbao: OpenBao) -> None:
    openbao.call("POST", "secret/data/found/web", {"data": {"OPENAI_API_KEY": canary(), "note": "x"}})
    reached = {"VAULT_ADDR": openbao.url, "VAULT_TOKEN": openbao.token}
    made = bare.run("init", "--from", "vault:secret/found/web", env=reached)
    assert made.status == 0, made.err
    assert "found OPENAI_API_KEY at vault:secret/found/web, fingerprint " in made.out
    assert "{to: vault, path: found/web, fields: " in (bare.folder / "rotator.yaml").read_text(encoding="utf-8")


@pytest.mark.parametrize("source", ["nowhere.env", "vault:secret/x", "vault:secret"])
def test_a_place_that_cannot_be_looked_at_is_told_before_anything_is_made(bare: House, source: str) -> None:
    ran = bare.run("init", "--from", source)
    assert ran.status == 2
    assert "To do: " in ran.err
    assert not list(bare.folder.iterdir())
