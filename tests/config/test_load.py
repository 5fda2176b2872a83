"""Finding and reading the file: sections, includes, and what their values become."""

from __future__ import annotations

from datetime import timedelta
from importlib import import_module
from pathlib import Path

import pytest

from rotator.config import Config, ConfigError, find, load
from rotator.domain.errors import SetupError
from rotator.settings import SecretReference
from tests.config.sample import BASE, EXAMPLE, TEAM, credential, load_text, problems_with, told


@pytest.fixture
def example(tmp_path: Path) -> Config:
    (tmp_path / "teams").mkdir()
    (tmp_path / "teams" / "team.yaml").write_text(TEAM)
    return load_text(tmp_path, EXAMPLE)


def test_the_example_of_the_design_is_read(example: Config, tmp_path: Path) -> None:
    assert example.environment == "prod"
    assert example.store.resolve() == f"sqlite:///{tmp_path}/rotator.db"
    assert example.seal.key.text == "file:rotator.key"
    assert example.seal.key == SecretReference("file:rotator.key", tmp_path)
    assert example.seal.keep == "version"
    assert example.engine.lease == timedelta(seconds=60)
    assert example.engine.retry_most == timedelta(minutes=15)
    assert {name: entry.type for name, entry in example.providers.items()} == {
        "openai": "openai",
        "aws": "aws-iam",
        "local": "generated",
    }
    assert example.providers["openai"].settings.admin_key.text == "env:OPENAI_ADMIN_KEY"
    assert example.destinations["vault"].settings.address.startswith("https://vault.example")
    assert list(example.credentials) == ["openai-web", "deployer", "session", "team-key"]


def test_the_credentials_of_the_example_are_complete(example: Config) -> None:
    web, deployer, session = (example.credentials[name] for name in ("openai-web", "deployer", "session"))
    assert web.options.service_account == "svc_acct_abc"
    assert (web.labels, web.owner) == ({"team": "web"}, "web@example.com")
    assert [(target.to, target.path, target.templates) for target in web.destinations] == [
        ("vault", "web/openai", {"OPENAI_API_KEY": "{secret}"}),
        ("web", None, {"OPENAI_API_KEY": "{secret}"}),
    ]
    assert deployer.destinations[0].templates == {
        "AWS_ACCESS_KEY_ID": "{access_key_id}",
        "AWS_SECRET_ACCESS_KEY": "{secret_access_key}",
    }
    assert session.destinations[0].to == "env-file"
    assert session.destinations[0].path == "/srv/web/.env"
    assert session.destinations[0].templates == {"SESSION": "{secret}"}
    assert example.destinations["env-file"].type == "env-file"


def test_a_short_file_has_every_default(tmp_path: Path) -> None:
    config = load_text(tmp_path, "credentials: {}\n")
    assert config.environment == "default"
    assert config.store.resolve() == f"sqlite:///{tmp_path}/rotator.db"
    assert isinstance(config.seal.key, SecretReference)
    assert config.seal.key.folder == tmp_path
    assert config.engine.call_budget == timedelta(seconds=20)
    assert (config.engine.workers, config.engine.retry_first) == (8, timedelta(seconds=2))
    assert config.credentials == {}


@pytest.mark.parametrize(
    ("url", "resolved"),
    [
        ("sqlite:///data/r.db", "sqlite:///{folder}/data/r.db"),
        ("sqlite:////var/r.db", "sqlite:////var/r.db"),
        ("postgresql+psycopg://db/rotator", "postgresql+psycopg://db/rotator"),
        ("postgresql://me@db:5432/rotator?sslmode=verify-full", None),
        ("postgres://db/rotator", "postgresql+psycopg://db/rotator"),
    ],
)
def test_urls_of_databases_are_made_whole(tmp_path: Path, url: str, resolved: str | None) -> None:
    config = load_text(tmp_path, f"store: {{url: '{url}'}}\n")
    expected = resolved or "postgresql+psycopg://me@db:5432/rotator?sslmode=verify-full"
    assert config.store.resolve() == expected.format(folder=tmp_path)


@pytest.mark.parametrize("url", ["env:DATABASE_URL", "file:database-url"])
def test_a_url_with_a_password_is_read_from_its_place_and_never_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://me:hunter2@db/rotator")
    (tmp_path / "database-url").write_text("postgresql://me:hunter2@db/rotator\n")
    config = load_text(tmp_path, f"store: {{url: '{url}'}}\n")
    assert config.store.resolve() == "postgresql+psycopg://me:hunter2@db/rotator"
    assert "hunter2" not in repr(config)


def test_what_stands_at_the_place_of_the_url_is_not_repeated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "mysql://me:hunter2@db/rotator")
    config = load_text(tmp_path, "store: {url: env:DATABASE_URL}\n")
    with pytest.raises(SetupError, match="read from env:DATABASE_URL: is not the URL of a database") as caught:
        config.store.resolve()
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("store: {url: 'mysql://db/x'}", "write sqlite:///FILE or postgresql+psycopg://HOST/NAME"),
        ("store: {url: 'postgresql+asyncpg://db/x'}", "write sqlite:///FILE or postgresql+psycopg://HOST/NAME"),
        ("store: {url: 'sqlite://'}", "store.url: names no file"),
        ("store: {url: 'sqlite:///:memory:'}", "store.url: names no file"),
        ("store: {url: 'postgresql://me:hunter2@db/x'}", "store.url: holds a password"),
        ("store: {url: 'postgresql://db/x?password=hunter2'}", "store.url: holds a password"),
        ("store: {url: 'postgresql://me:hun/ter2@db/x'}", "store.url: is not a URL"),
        ("store: {url: 'postgresql://me:12?hunter2@db/x'}", "store.url: is not a URL"),
        ("store: {url: 'env:sk-hunter2'}", "store.url: names no environment variable"),
        ("store: {url: 7}", "store.url: must be text"),
        ("seal: {key: 'hunter2hunter2'}", "seal.key: the key is named, not written here"),
        ("seal: {key: 'aws-kms:'}", "seal.key: is not of the form aws-kms:KEY"),
        ("seal: {key: 'aws-kms:arn:aws:s3:::x'}", "seal.key: is not of the form aws-kms:KEY"),
        ("seal: {key: 'vault-transit:a'}", "seal.key: is not of the form vault-transit:MOUNT/KEY"),
        ("seal: {key: 'vault-transit:a/../b'}", "seal.key: is not of the form vault-transit:MOUNT/KEY"),
        ("seal: {key: 'systemd-credential:../x'}", "seal.key: is not of the form systemd-credential:NAME"),
        ("seal: {key: 'vault-transit:a/b'}", "seal.vault: `vault-transit:a/b` needs to know the server"),
        ("seal: {also: ['vault-transit:a/b']}", "seal.vault: `vault-transit:a/b` needs to know the server"),
        ("seal: {also: [env:A, env:A]}", "seal.also: names a key twice"),
        ("seal: {also: ['hunter2hunter2']}", "seal.also[0]: the key is named, not written here"),
        ("seal: {aws: {regoin: x}}", "seal.aws.regoin: unknown key (did you mean `seal.aws.region`?)"),
        ("seal: {vault: {address: 'http://vault.example', auth: {method: token, token: env:T}}}", "seal.vault.address"),
        ("seal: {keep: ever}", "seal.keep: must be one of version, rotation"),
        ("engine: {lease: 20s}", "engine.call_budget: must be shorter than `engine.lease`"),
        ("engine: {lease: 0}", "engine.lease: must be more than 0"),
        ("engine: {workers: 0}", "engine.workers: must be at least 1"),
        ("engine: {workers: many}", "engine.workers: must be a whole number"),
        ("engine: {retry: {first: 20m}}", "engine.retry.first: must not be longer than `engine.retry.most`"),
        ("environment: 'a b'", "environment: must be of the form"),
        ("environment: 1", "environment: must be text; put it in quotes"),
        ("include: 3", "include: must be a list"),
    ],
)
def test_wrong_sections_are_told_without_what_they_hold(tmp_path: Path, text: str, message: str) -> None:
    (line,) = told(tmp_path, text)
    assert line.startswith("rotator.yaml:1: ")
    assert message in line
    assert "ter2" not in line


def test_the_store_never_hides_behind_another_environment_name(tmp_path: Path) -> None:
    assert load_text(tmp_path, "environment: no\n").environment == "no"  # YAML 1.2: only true and false are booleans


def test_included_files_add_credentials_with_their_own_defaults(example: Config) -> None:
    team, session = example.credentials["team-key"], example.credentials["session"]
    assert team.policy.grace == timedelta(hours=12)
    assert team.policy.soak == timedelta(hours=24)  # the main file's
    assert session.policy.grace == timedelta(hours=24)  # untouched by the team's
    assert (team.places["grace"].file, team.places["grace"].line) == ("teams/team.yaml", 1)
    assert (team.places["soak"].file, team.places["soak"].line) == ("rotator.yaml", 9)
    assert team.places["hold_alarm"].source == "built-in"


def test_problems_in_included_files_name_the_file(tmp_path: Path) -> None:
    (tmp_path / "teams").mkdir()
    (tmp_path / "teams" / "a.yaml").write_text("credentials:\n  one: {provider: local, destinatons: []}\n")
    (tmp_path / "teams" / "b.yaml").write_text("providers: {}\nstore: {}\n")
    (tmp_path / "teams" / "c.yaml").write_text("a: [\n")
    (tmp_path / "teams" / "d.yaml").write_text("- 1\n")
    (tmp_path / "teams" / "e.yaml").write_text("")
    lines = told(tmp_path, f"include: [teams/*.yaml, gone/*.yaml, /etc/*.yaml]\n{BASE}")
    assert lines == [
        lines[0],
        "rotator.yaml:1: include[1]: matches no file",
        "rotator.yaml:1: include[2]: is not a pattern relative to this file, such as teams/*.yaml",
        "teams/a.yaml:2: credentials.one.destinations: is missing",
        "teams/a.yaml:2: credentials.one.destinatons: unknown key (did you mean `destinations`?)",
        "teams/b.yaml:1: providers: an included file may hold `credentials` and `defaults` only",
        "teams/b.yaml:2: store: an included file may hold `credentials` and `defaults` only",
        "teams/d.yaml:1: the file must be a mapping of keys to values",
    ]
    assert lines[0].startswith("rotator.yaml:1: include[0]: teams/c.yaml:2:1: this is not YAML")


def test_a_credential_is_defined_once(tmp_path: Path) -> None:
    (tmp_path / "more.yaml").write_text("credentials:\n  key: {provider: local, destinations: [sm:other]}\n")
    (line,) = told(tmp_path, "include: ['*.yaml', more.yaml]\n" + credential("labels: {}"))
    assert line.startswith("more.yaml:2: credentials.key: there is another credential `key` at rotator.yaml:")


def test_files_of_an_included_folder_are_relative_to_it(tmp_path: Path) -> None:
    (tmp_path / "teams").mkdir()
    (tmp_path / "teams" / "a.yaml").write_text("credentials: {one: {provider: local, destinations: ['env-file:.env']}}")
    config = load_text(tmp_path, f"include: [teams/*.yaml]\n{BASE}")
    assert config.credentials["one"].destinations[0].path == str(tmp_path / "teams" / ".env")


def test_editors_backups_are_not_included(tmp_path: Path) -> None:
    (tmp_path / ".#more.yaml").write_text("nonsense: 1")
    (tmp_path / "more.yaml").write_text("credentials: {}")
    assert load_text(tmp_path, "include: ['*.yaml']\n").credentials == {}


def test_a_folder_is_its_main_file_with_every_other_one_beside_it(tmp_path: Path) -> None:
    own = "{provider: local, destinations: ['env-file:.env']}"
    (tmp_path / "rotator.yaml").write_text(BASE)
    (tmp_path / "b.yml").write_text(f"credentials: {{two: {own}}}")
    (tmp_path / "a.yaml").write_text(f"defaults: {{policy: {{grace: 3h}}}}\ncredentials: {{one: {own}}}")
    (tmp_path / ".hidden.yaml").write_text("nonsense: 1")
    (tmp_path / "notes.txt").write_text("nonsense: 1")
    config = load(tmp_path)
    assert list(config.credentials) == ["one", "two"]
    assert config.credentials["one"].policy.grace == timedelta(hours=3)
    assert config.credentials["two"].policy.grace != timedelta(hours=3)
    assert config.path == tmp_path / "rotator.yaml"
    assert load(tmp_path / "rotator.yaml").credentials == {}  # the file alone is the file alone


def test_problems_in_a_folder_name_its_files(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match=r"cannot read the configuration rotator\.yaml"):
        load(tmp_path)
    (tmp_path / "rotator.yaml").write_text(BASE)
    (tmp_path / "a.yaml").write_text("store: {}")
    (tmp_path / "b.yaml").write_text("[")
    with pytest.raises(ConfigError) as caught:
        load(tmp_path)
    assert "a.yaml:1: store: an included file may hold" in str(caught.value)
    assert "b.yaml:1" in str(caught.value)


@pytest.mark.parametrize("name", ["--config", "$ROTATOR_CONFIG"])
def test_a_named_file_that_is_not_there_is_not_replaced_by_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rotator.yaml").write_text("{}")
    with pytest.raises(SetupError, match=r"gone\.yaml") as caught:
        find("gone.yaml" if name == "--config" else None, {"ROTATOR_CONFIG": "gone.yaml"})
    assert name in str(caught.value)


def test_the_first_place_that_has_a_file_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("rotator.yaml", "other.yaml", "third.yaml"):
        (tmp_path / name).write_text("{}")
    environ = {"ROTATOR_CONFIG": "other.yaml"}
    assert find("third.yaml", environ) == Path("third.yaml")
    assert find(None, environ) == Path("other.yaml")
    assert find(None, {"ROTATOR_CONFIG": ""}) == Path("rotator.yaml")


def test_without_any_file_all_places_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    fallbacks = (Path("rotator.yaml"), tmp_path / "etc" / "rotator.yaml")
    monkeypatch.setattr(import_module("rotator.config.load"), "FALLBACKS", fallbacks)
    with pytest.raises(SetupError) as caught:
        find(None, {})
    for place in ("--config", "$ROTATOR_CONFIG", str(tmp_path / "rotator.yaml"), str(tmp_path / "etc")):
        assert place in str(caught.value)
    assert "rotator init" in str(caught.value.remedy)


def test_an_empty_file_is_told_where_to_start(tmp_path: Path) -> None:
    (line,) = told(tmp_path, "# nothing yet\n")
    assert line == "rotator.yaml: the file is empty (`rotator init` writes one to start from)"


def test_a_missing_file_is_a_setup_error(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match=r"cannot read the configuration gone\.yaml: No such file"):
        load(tmp_path / "gone.yaml")


def test_the_error_counts_and_lists_its_problems(tmp_path: Path) -> None:
    (tmp_path / "rotator.yaml").write_text("stor: {}\nseal: {keep: x}\n")
    with pytest.raises(ConfigError) as caught:
        load(tmp_path / "rotator.yaml")
    first, *lines = str(caught.value).splitlines()
    assert first == f"2 problems in the configuration {tmp_path}/rotator.yaml:"
    assert lines == [f"  {problem}" for problem in caught.value.problems]
    assert isinstance(caught.value, SetupError)


def test_a_problem_in_shared_defaults_is_told_once(tmp_path: Path) -> None:
    keys = "provider: local, destinations"
    text = f"{BASE}defaults: {{policy: {{grace: 1h, require_idle: 2h}}}}\n"
    text += f"credentials: {{a: {{{keys}: [sm:a]}}, b: {{{keys}: [sm:b]}}}}\n"
    (problem,) = problems_with(tmp_path, text)
    assert problem.place == "defaults.policy.require_idle"
