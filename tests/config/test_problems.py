"""Every problem at once, each with its place, its line and what was probably meant; never a secret."""

from __future__ import annotations

from pathlib import Path

import pytest

from rotator.config import Problem
from rotator.config.problems import nearest, shown
from rotator.providers import PROVIDERS
from tests.config.sample import credential, problems_with, told

THIRTY = """\
enviroment: prod
store: {url: "mysql://h/db"}
seal: {key: "vault-transit:x", keep: ever}
engine:
  lease: 10s
  workers: 0
  retry: {frist: 2s}
defaults:
  policy: {grace: 24 hours, colour: red}
providers:
  openai: {admin_key: env:OPENAI_ADMIN_KEY, base_ur: x}
  aws: {type: aws-iam, account: 123456789012}
  typo: {type: opnai}
  untyped: {}
  three: 3
  local: {type: generated}
destinations:
  vault: {type: vault-kv, address: https://vault.example, auth: {method: tken}}
  bare: {type: vault-kv, address: https://vault.example, auth: {token: env:T}}
  sm: {type: aws-secrets-manager, region: us-east-1}
credentials:
  Upper:
    provider: opena
    grace: 3h
    destinations: []
  web:
    provider: openai
    options: {projct: proj_abc}
    on: {lek: notify}
    policy: {rotate_evry: 30d, windows: [SOMEDAY], timezone: Europe/Lodon, cron: "1 2 3"}
    labels: {team: 1}
    destinations:
      - {to: vult, path: web/openai}
      - {to: sm}
      - {to: sm, path: a, fields: {A: "{secret}"}, value: x, wave: 12}
      - {path: a}
  session:
    provider: local
    destinations:
      - {to: sm, path: b, fields: {A: "{secrt}", B: "plain"}}
"""

PLACES = [
    ("enviroment", 1, "unknown key", "did you mean `environment`?"),
    ("store.url", 2, "is not the URL of a database that we know", None),
    ("seal.key", 3, "is not of the form vault-transit:MOUNT/KEY", None),
    ("seal.keep", 3, "must be one of version, rotation", None),
    ("engine.call_budget", 4, "must be shorter than `engine.lease`", None),
    ("engine.workers", 6, "must be at least 1", None),
    ("engine.retry.frist", 7, "unknown key", "did you mean `engine.retry.first`?"),
    ("defaults.policy.grace", 9, "'24 hours' is not a duration; write 45s, 90m, 12h, 30d or 1d12h", None),
    ("defaults.policy.colour", 9, "unknown key", None),
    ("providers.openai.base_ur", 11, "unknown key", "did you mean `base_url`?"),
    ("providers.aws.account", 12, "must be text; put it in quotes", None),
    ("providers.typo.type", 13, "there is no provider type `opnai`", "did you mean `openai`?"),
    ("providers.untyped.type", 14, f"is missing; known: {', '.join(PROVIDERS)}", None),
    ("providers.three", 15, "must be a mapping of keys to values", None),
    ("destinations.vault.auth.method", 18, "must be one of token, approle, kubernetes", None),
    ("destinations.bare.auth.method", 19, "is missing", None),
    ("credentials.Upper", 22, "a name is at most 63 of a-z, 0-9", None),
    ("credentials.Upper.provider", 23, "no provider is called `opena`", "did you mean `openai`?"),
    ("credentials.Upper.grace", 24, "unknown key", "did you mean `policy.grace`?"),
    ("credentials.Upper.destinations", 25, "names no destination", None),
    ("credentials.web.options.project", 28, "is missing", None),
    ("credentials.web.options.service_account", 28, "is missing", None),
    ("credentials.web.options.projct", 28, "unknown key", "did you mean `options.project`?"),
    ("credentials.web.on", 29, "there is no check `lek`; known: leak", None),
    ("credentials.web.policy.rotate_evry", 30, "unknown key", "did you mean `policy.rotate_every`?"),
    ("credentials.web.policy.windows[0]", 30, "is no span; write MON-FRI 22:00-04:00", None),
    ("credentials.web.policy.timezone", 30, "there is no time zone `Europe/Lodon`", "did you mean `Europe/London`?"),
    ("credentials.web.policy.cron", 30, "a cron line has five fields", None),
    ("credentials.web.labels.team", 31, "must be text; put it in quotes", None),
    ("credentials.web.destinations[0].to", 33, "no destination is called `vult`", "did you mean `vault`?"),
    ("credentials.web.destinations[1].path", 34, "path is the secret's name", None),
    ("credentials.web.destinations[2].wave", 35, "must be at most 9", None),
    ("credentials.web.destinations[2].value", 35, "excludes `fields`", None),
    ("credentials.web.destinations[3].to", 36, "is missing", None),
    ("credentials.session.destinations[0].fields.A", 40, "unknown placeholder {secrt}", None),
    ("credentials.session.destinations[0].fields.B", 40, "holds no field of the key", None),
]


def test_all_of_thirty_and_more_problems_are_told_at_once_with_place_and_line(tmp_path: Path) -> None:
    problems = problems_with(tmp_path, THIRTY)
    found = {problem.place: problem for problem in problems}
    assert sorted(found) == sorted(place for place, *_ in PLACES)
    assert len(problems) == len(PLACES)
    for place, line, message, hint in PLACES:
        problem = found[place]
        assert (problem.file, problem.line, problem.hint) == ("rotator.yaml", line, hint), place
        assert message in problem.message, place


def test_problems_come_in_the_order_of_the_file(tmp_path: Path) -> None:
    lines = [problem.line or 0 for problem in problems_with(tmp_path, THIRTY)]
    assert lines == sorted(lines)


def test_no_sentence_is_the_librarys(tmp_path: Path) -> None:
    text = "\n".join(told(tmp_path, THIRTY))
    for word in ("value_error", "pydantic", "Input should", "Field required", "Extra inputs", "validation error"):
        assert word not in text


def test_a_problem_reads_as_one_line() -> None:
    problem = Problem("rotator.yaml", "credentials.web.policy.grace", "is wrong", "did you mean `x`?", 12)
    assert str(problem) == "rotator.yaml:12: credentials.web.policy.grace: is wrong (did you mean `x`?)"
    assert str(Problem("rotator.yaml", "", "is wrong")) == "rotator.yaml: is wrong"


@pytest.mark.parametrize(
    ("text", "place", "hint"),
    [
        ("polcy: {}", "polcy", "did you mean `policy`?"),
        ("rotate_every: 3d", "rotate_every", "did you mean `policy.rotate_every`?"),
        ("policy: {grce: 3d}", "policy.grce", "did you mean `policy.grace`?"),
        (
            "policy: {max-creates-per-day: 3}",
            "policy.max-creates-per-day",
            "did you mean `policy.max_creates_per_day`?",
        ),
        ("option: {}", "option", "did you mean `options`?"),
        ("length: 40", "length", "did you mean `options.length`?"),
        ("options: {lenght: 40}", "options.lenght", "did you mean `options.length`?"),
        ("options: {grace: 40}", "options.grace", "did you mean `policy.grace`?"),
        ("colour: red", "colour", None),
    ],
)
def test_an_unknown_key_of_a_credential_names_the_nearest_known_one(
    tmp_path: Path, text: str, place: str, hint: str | None
) -> None:
    (problem,) = problems_with(tmp_path, credential(text))
    assert problem.message == "unknown key"
    assert problem.place == f"credentials.key.{place}"
    assert problem.hint == hint


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("provider: {}", "did you mean `providers`?"),
        ("credential: {}", "did you mean `credentials`?"),
        ("lease: 3s", "did you mean `engine.lease`?"),
        ("policy: {}", "did you mean `defaults.policy`?"),
        ("url: x", "did you mean `store.url`?"),
    ],
)
def test_an_unknown_section_names_the_nearest_known_key(tmp_path: Path, text: str, hint: str) -> None:
    (problem,) = problems_with(tmp_path, f"{text}\n")
    assert (problem.message, problem.hint) == ("unknown key", hint)


SECRET = "sk-proj-Zx81kQ0vvT3BlbkFJ77aaBBccDDeeFF00"


@pytest.mark.parametrize(
    "text",
    [
        "providers: {openai: {admin_key: SECRET}}",
        "providers: {openai: {admin_key:SECRET}}",
        "providers: {openai: {admin_key: [SECRET]}}",
        "providers: {openai: {admin_key: {SECRET}}}",
        "providers: {openai: {admin_key: env:A, base_url: SECRET}}",
        "providers: {openai: {type: SECRET}}",
        "providers: {SECRET: {}}",
        "providers: SECRET",
        "providers: {aws: {type: aws-iam, account: SECRET, region: [SECRET]}}",
        "destinations: {vault: {type: vault-kv, address: SECRET, auth: {method: SECRET, token: SECRET}}}",
        "destinations: {vault: {type: vault-kv, address: https://v, auth: {method: token, token: SECRET}}}",
        "destinations: {vault: {type: vault-kv, address: https://v, auth: SECRET}}",
        "destinations: {vault: {type: SECRET}}",
        "seal: {key: SECRET}",
        "store: {url: SECRET}",
        "engine: {lease: SECRET, workers: SECRET}",
        "SECRET",
        "SECRET: 1",
        "environment: 'with space SECRET'",
        "defaults: {policy: {grace: SECRET, first: SECRET, timezone: SECRET, cron: SECRET}}",
        "credentials: {a: {provider: SECRET, destinations: [SECRET, {to: SECRET}, {to: sm, fields: {A: SECRET}}]}}",
        "credentials: {a: {provider: x, policy: {timezone: SECRET, cron: SECRET}, destinations: [x]}}",
        "credentials: {SECRET: {provider: x, owner: [SECRET], labels: {SECRET: 1, a: SECRET SECRET}}}",
        "include: [SECRET]",
        "a: *SECRET",
        "a: !SECRET b",
        "a: !!SECRET b",
        'a: "SECRET',
        "a: SECRET: SECRET",
        "a: {SECRET: 1, SECRET: 2}",
        "%SECRET",
        "a: &SECRET [*SECRET]",
        "? [SECRET]\n: 1",
    ],
)
def test_a_literal_secret_is_never_repeated(tmp_path: Path, text: str) -> None:
    from rotator.config import load
    from rotator.domain.errors import SetupError

    path = tmp_path / "rotator.yaml"
    path.write_text(text.replace("SECRET", SECRET))
    with pytest.raises(SetupError) as caught:
        load(path)
    told = f"{caught.value} {caught.value!r} {caught.value.remedy} {getattr(caught.value, 'problems', '')}"
    assert SECRET not in told
    assert SECRET[8:20] not in told
    assert SECRET.lower()[8:20] not in told.lower()


def test_a_forgotten_space_after_a_colon_is_recognised(tmp_path: Path) -> None:
    problems = problems_with(tmp_path, "providers: {openai: {admin_key:env:OPENAI}}")
    assert [(p.place, p.message, p.hint) for p in problems] == [
        ("providers.openai.admin_key", "is missing", None),
        ("providers.openai.admin_key:…", "unknown key", "a colon is followed by a space"),
    ]


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ("web-1", "web-1"),
        ("a/b c.d", "a/b c.d"),
        ("x" * 41, "xxxxxx…"),
        ("key:value", "key:…"),
        ("a\x1b[31mred", "a??31m…"),
    ],
)
def test_names_are_shown_only_where_they_look_like_names(text: str, safe: str) -> None:
    assert shown(text) == safe


def test_the_nearest_word_ignores_case_and_dashes() -> None:
    assert nearest("Rotate-Every", ["rotate_every", "grace"]) == "rotate_every"
    assert nearest("zzz", ["rotate_every"]) is None
