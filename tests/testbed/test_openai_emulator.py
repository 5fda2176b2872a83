from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import openai as official
import pytest
import yaml

from rotator.testbed.openai_emulator import EmulatedKey, OpenAIEmulator, Restriction
from rotator.testbed.openai_http import USAGE

DOCUMENT = yaml.safe_load((Path(__file__).parents[1] / "reference" / "openai-admin.openapi.yaml").read_text())
NEWER = {"expires_at"}
"""Fields that the API has got since the document was published."""

PROJECT = "/organization/projects/{project_id}"
ACCOUNT = PROJECT + "/service_accounts/{service_account_id}"
KEY = PROJECT + "/api_keys/{api_key_id}"
ADMIN_KEY = "/organization/admin_api_keys/{key_id}"
LIFE = {"expires_in_seconds": 60}

ANSWERED: list[tuple[str, str, dict[str, Any] | None]] = [
    ("GET", "/models", None),
    ("GET", "/organization/admin_api_keys", None),
    ("POST", "/organization/admin_api_keys", {"name": "rotator", **LIFE}),
    ("GET", ADMIN_KEY, None),
    ("DELETE", ADMIN_KEY, None),
    *(("GET", f"/organization/usage/{kind}?start_time=1730419200", None) for kind in USAGE),
    ("GET", "/organization/costs?start_time=1730419200", None),
    ("GET", "/organization/audit_logs", None),
    ("GET", "/organization/projects", None),
    ("GET", PROJECT, None),
    ("GET", PROJECT + "/service_accounts", None),
    ("POST", PROJECT + "/service_accounts", {"name": "An app"}),
    ("POST", PROJECT + "/service_accounts", {"name": "An app", "create_service_account_only": True}),
    ("GET", ACCOUNT, None),
    ("DELETE", ACCOUNT, None),
    ("POST", ACCOUNT + "/api_keys", {}),
    ("POST", ACCOUNT + "/api_keys", {"name": "web", "scopes": ["api.all.read"], **LIFE}),
    ("GET", PROJECT + "/api_keys", None),
    ("GET", PROJECT + "/api_keys?owner_project_access=any&limit=2", None),
    ("GET", KEY, None),
    ("POST", KEY, {"scopes": []}),
    ("POST", KEY, LIFE),
    ("DELETE", KEY, None),
]

REFUSED: list[tuple[int, str, str, Any]] = [
    (404, "GET", "/nothing", None),
    (404, "GET", "/organization/usage/nothing?start_time=1", None),
    (400, "GET", "/organization/usage/completions", None),
    (400, "GET", "/organization/usage/completions?start_time=1&bucket_width=2m", None),
    (400, "GET", "/organization/usage/completions?start_time=1&limit=32", None),
    (404, "GET", "/organization/projects/proj_other", None),
    (404, "GET", PROJECT + "/service_accounts/svc_acct_other", None),
    (404, "GET", "/organization/admin_api_keys/key_other", None),
    (404, "DELETE", "/organization/admin_api_keys/key_other", None),
    (400, "POST", "/organization/admin_api_keys", {}),
    (400, "POST", "/organization/admin_api_keys", {"name": "x", "expires_in_seconds": 0}),
    (404, "GET", PROJECT + "/api_keys/key_other", None),
    (404, "DELETE", PROJECT + "/api_keys/key_other", None),
    (404, "POST", PROJECT + "/service_accounts/svc_acct_other/api_keys", {}),
    (400, "GET", PROJECT + "/api_keys?limit=101", None),
    (400, "GET", PROJECT + "/api_keys?limit=many", None),
    (400, "GET", PROJECT + "/api_keys?after=key_other", None),
    (400, "GET", PROJECT + "/api_keys?owner_project_access=some", None),
    (400, "POST", ACCOUNT + "/api_keys", {"scopes": "api.all.read"}),
    (400, "POST", ACCOUNT + "/api_keys", {"expires_in_seconds": 0}),
    (400, "POST", ACCOUNT + "/api_keys", ["web"]),
    (400, "POST", KEY, {}),
]


class Caller:
    """Calls the emulator and holds every answer against the document."""

    def __init__(self, emulator: OpenAIEmulator, client: httpx.Client) -> None:
        self._emulator = emulator
        self._client = client
        self.key = emulator.make_key()

    def __call__(self, method: str, path: str, body: Any = None, *, key: str = "", of: str = "") -> tuple[int, Any]:
        names = {"project_id": self._emulator.project, "service_account_id": self._emulator.service_account}
        url = self._emulator.url + path.format(**names, api_key_id=of or self.key.id, key_id="key_admin")
        key = key or (self.key.secret if path == "/models" else self._emulator.admin_key)
        answer = self._client.request(method, url, json=body, headers={"Authorization": f"Bearer {key}"})
        told = answer.json()
        assert re.fullmatch(r"req_\w+", answer.headers["x-request-id"])
        _hold_against_document(method, path.partition("?")[0], answer.status_code, told)
        return answer.status_code, told


def _hold_against_document(method: str, path: str, status: int, told: Any) -> None:
    operation = DOCUMENT["paths"].get(path, {}).get(method.lower(), {})
    described = operation.get("responses", {}).get(str(status))
    if described:
        schema = described["content"]["application/json"]["schema"]
    elif status == 200:
        assert (method, path) == ("POST", KEY), "the one endpoint that is newer than the document"
        schema = {"$ref": "#/components/schemas/ProjectApiKey"}
    else:
        schema = {"$ref": "#/components/schemas/ErrorResponse"}
    jsonschema.Draft202012Validator({**schema, "components": DOCUMENT["components"]}).validate(told)
    assert _names(told) <= _names(DOCUMENT["components"]["schemas"]) | NEWER


def _names(value: Any) -> set[str]:
    """Every name of a field, however deep."""
    if isinstance(value, list):
        return {name for item in value for name in _names(item)}
    return {*value, *_names(list(value.values()))} if isinstance(value, dict) else set()


@pytest.fixture
def call(openai: OpenAIEmulator) -> Iterator[Caller]:
    with httpx.Client(trust_env=False) as client:
        yield Caller(openai, client)


@pytest.fixture
def sdk(openai: OpenAIEmulator) -> Iterator[official.OpenAI]:
    key = openai.make_key().secret
    with official.OpenAI(
        api_key=key, admin_api_key=openai.admin_key, base_url=openai.url, max_retries=0, organization="org-1"
    ) as client:
        yield client


# every answer is the document's


@pytest.mark.parametrize(("method", "path", "body"), ANSWERED)
def test_an_answer_is_what_the_document_says(
    call: Caller, openai: OpenAIEmulator, method: str, path: str, body: dict[str, Any] | None
) -> None:
    for _ in range(3):
        openai.make_key(owner="user_1", owner_has_access=False)
    status, _ = call(method, path, body)
    assert status == 200


def test_the_answers_of_all_endpoints_are_looked_at() -> None:
    asked = {(method, re.sub(r"\{\w+\}", "{}", path.partition("?")[0])) for method, path, _ in ANSWERED}
    assert asked == {(known.method, re.sub(r"\{\w+\}", "{}", known.path)) for known in OpenAIEmulator._ENDPOINTS}


@pytest.mark.parametrize(("status", "method", "path", "body"), REFUSED)
def test_a_refusal_is_what_the_document_says(call: Caller, status: int, method: str, path: str, body: Any) -> None:
    assert call(method, path, body)[0] == status


def test_every_refusal_of_a_key_is_what_the_document_says(call: Caller, openai: OpenAIEmulator) -> None:
    cases: list[tuple[Restriction, int]] = [
        ("missing_scopes", 403),
        ("ip_not_authorized", 401),
        ("insufficient_quota", 429),
    ]
    for how, status in cases:
        openai.restrict(call.key.id, how)
        assert call("GET", "/models")[0] == status
    assert call("GET", "/models", key="sk-wrong")[1]["error"]["code"] == "invalid_api_key"
    assert call("GET", "/models", key=openai.admin_key)[0] == 403


@pytest.mark.parametrize(("method", "path", "body"), ANSWERED[1:])
def test_administration_is_for_the_admin_key_only(
    call: Caller, openai: OpenAIEmulator, method: str, path: str, body: dict[str, Any] | None
) -> None:
    assert call(method, path, body, key=call.key.secret)[0] == 403
    assert call(method, path, body, key="sk-admin-wrong")[0] == 401
    openai.admin_key_state = "read_only"
    assert call(method, path, body)[0] == (200 if method == "GET" else 403)
    openai.admin_key_state = "expired"
    assert call(method, path, body)[0] == 401


def test_an_archived_project_is_as_the_document_says(call: Caller, openai: OpenAIEmulator) -> None:
    openai.project_archived = True
    assert call("GET", PROJECT)[1]["status"] == "archived"
    assert call("GET", "/organization/projects")[1]["data"] == []
    assert len(call("GET", "/organization/projects?include_archived=true")[1]["data"]) == 1
    assert call("GET", PROJECT + "/service_accounts")[0] == 400
    assert call("POST", ACCOUNT + "/api_keys", {})[0] == 400


# what happens


def test_a_key_works_from_its_creation_to_its_deletion(call: Caller, openai: OpenAIEmulator) -> None:
    _, made = call("POST", ACCOUNT + "/api_keys", {"name": "web"})
    assert re.fullmatch(r"sk-svcacct-[A-Za-z0-9_-]{58}T3BlbkFJ[A-Za-z0-9_-]{58}", made["value"])
    assert openai.accepts(made["value"])
    assert call("GET", "/models", key=made["value"])[0] == 200
    call("DELETE", KEY, of=made["id"])
    assert not openai.accepts(made["value"])
    assert call("GET", "/models", key=made["value"])[0] == 401
    assert [key.state for key in list(openai.keys())] == ["live", "deleted"]
    assert [(create.name, create.key_id) for create in openai.creates] == [("web", made["id"])]


def test_a_new_key_can_be_slow_to_work_and_to_be_listed(call: Caller, openai: OpenAIEmulator) -> None:
    now = openai.clock()
    openai.clock = lambda: now
    openai.settle, openai.list_lag = 60, 30
    key = openai.make_key()
    assert not openai.accepts(key.secret)
    assert key.id not in _listed(call)
    openai.clock = lambda: now + 30
    assert key.id in _listed(call)
    assert [known.state for known in list(openai.keys())] == ["settling"] * 2
    openai.clock = lambda: now + 60
    assert openai.accepts(key.secret)


def test_a_deleted_key_can_work_for_a_while(call: Caller, openai: OpenAIEmulator) -> None:
    now = openai.clock()
    openai.clock = lambda: now
    openai.delete_lag = 60
    openai.revoke(call.key.id)
    assert openai.accepts(call.key.secret)
    assert call.key.id not in _listed(call)
    openai.clock = lambda: now + 60
    assert not openai.accepts(call.key.secret)


def test_a_key_expires(call: Caller, openai: OpenAIEmulator) -> None:
    now = openai.clock()
    openai.clock = lambda: now
    assert call("POST", KEY, LIFE)[1]["expires_at"] == int(now + 60)
    openai.clock = lambda: now + 61
    assert not openai.accepts(call.key.secret)
    assert call("POST", KEY, LIFE)[0] == 400
    assert [key.state for key in list(openai.keys())] == ["expired"]


def test_use_moves_last_use_unless_told_otherwise(call: Caller, openai: OpenAIEmulator) -> None:
    openai.use_is_seen = False
    call("GET", "/models")
    assert call("GET", KEY)[1]["last_used_at"] is None
    openai.use_is_seen = True
    call("GET", "/models")
    assert call("GET", KEY)[1]["last_used_at"] == pytest.approx(openai.clock(), abs=5)


def test_requests_to_models_are_accounted_for_by_key(call: Caller, openai: OpenAIEmulator) -> None:
    start, other = int(openai.clock()) - 3600, openai.make_key()
    for kind in USAGE:
        assert openai.consume(call.key.secret, kind)
        assert openai.consume(call.key.secret, kind)
        assert openai.consume(other.secret, kind)
        by = f"api_key_ids[]={call.key.id}&group_by[]=api_key_id"
        _, told = call("GET", f"/organization/usage/{kind}?start_time={start}&bucket_width=1m&limit=1440&{by}")
        results = [result for bucket in told["data"] for result in bucket["results"]]
        assert sum(result["num_model_requests"] for result in results) == 2
        assert {result["api_key_id"] for result in results} == {call.key.id}
    assert not openai.consume("sk-wrong")
    assert openai.consume(call.key.secret, model="gpt-other", times=3)
    by = f"api_key_ids[]={call.key.id}&group_by[]=api_key_id&group_by[]=model"
    _, told = call("GET", f"/organization/usage/completions?start_time={start}&bucket_width=1d&{by}")
    found = {(r["model"], r["num_model_requests"]) for bucket in told["data"] for r in bucket["results"]}
    assert found == {("gpt-emulated", 2), ("gpt-other", 3)}
    _, told = call("GET", f"/organization/costs?start_time={start}&bucket_width=1d&{by}")
    assert [r["amount"]["currency"] for bucket in told["data"] for r in bucket["results"]][:1] == ["usd"]
    openai.usage_lag = 60
    _, told = call("GET", f"/organization/usage/completions?start_time={start}&bucket_width=1h")
    assert all(bucket["results"] == [] for bucket in told["data"])
    openai.usage_allowed = False
    assert call("GET", f"/organization/usage/completions?start_time={start}")[0] == 403


def test_an_older_api_neither_deletes_nor_updates_keys_of_service_accounts(
    call: Caller, openai: OpenAIEmulator
) -> None:
    openai.delete_of_service_account_keys_allowed = False
    openai.update_allowed = False
    assert call("DELETE", KEY)[0] == 400
    assert call("POST", KEY, LIFE)[0] == 404
    person = openai.make_key(owner="user_1")
    assert call("DELETE", KEY, of=person.id)[0] == 200


def test_a_service_account_takes_its_keys_with_it(call: Caller, openai: OpenAIEmulator) -> None:
    call("DELETE", ACCOUNT)
    assert not openai.accepts(call.key.secret)
    assert call("GET", ACCOUNT)[0] == 404


def test_lists_come_in_pages(call: Caller, openai: OpenAIEmulator) -> None:
    made = [call.key.id, *(openai.make_key().id for _ in range(4))]
    found: list[str] = []
    after = ""
    for more in (True, True, False):
        _, page = call("GET", f"{PROJECT}/api_keys?limit=2{after}")
        assert page["has_more"] is more
        found += [row["id"] for row in page["data"]]
        after = f"&after={page['last_id']}"
    assert found == made


def test_keys_whose_owner_lost_access_are_listed_when_asked_for() -> None:
    with OpenAIEmulator(user_keys=1) as emulator, httpx.Client(trust_env=False) as client:
        call = Caller(emulator, client)
        lost = emulator.make_key(owner="user_1", owner_has_access=False)
        person, ours = emulator.keys()[0], call.key
        assert _listed(call) == [person.id, ours.id]
        assert _listed(call, "active") == [person.id, ours.id]
        assert _listed(call, "inactive") == [lost.id]
        assert _listed(call, "any") == [person.id, ours.id, lost.id]


def test_a_secret_does_not_show(openai: OpenAIEmulator) -> None:
    key = openai.make_key()
    assert isinstance(key, EmulatedKey)
    assert key.secret not in repr((key, openai))


def _listed(call: Caller, access: str | None = None) -> list[str]:
    query = f"?owner_project_access={access}" if access else ""
    return [row["id"] for row in call("GET", PROJECT + "/api_keys" + query)[1]["data"]]


# OpenAI's own client


def test_the_official_client_reads_the_usage_of_a_key(sdk: official.OpenAI, openai: OpenAIEmulator) -> None:
    key = openai.make_key()
    openai.consume(key.secret)
    told = sdk.admin.organization.usage.completions(
        start_time=int(openai.clock()) - 60, bucket_width="1m", api_key_ids=[key.id], group_by=["api_key_id"]
    )
    counts = [getattr(r, "num_model_requests", 0) for bucket in told.data for r in bucket.results]
    assert sum(counts) == 1


def test_the_official_client_works_against_it(sdk: official.OpenAI, openai: OpenAIEmulator) -> None:
    projects = sdk.admin.organization.projects
    assert projects.retrieve(openai.project).status == "active"
    assert [project.id for project in projects.list()] == [openai.project]
    assert [key.id for key in sdk.admin.organization.admin_api_keys.list()] == ["key_admin"]
    account = projects.service_accounts.create(openai.project, name="An app")
    assert account.api_key is not None
    assert projects.service_accounts.retrieve(account.id, project_id=openai.project).role == "member"
    key = projects.service_accounts.api_keys.create(account.id, project_id=openai.project, name="web")
    assert openai.accepts(key.value)
    listed = list(projects.api_keys.list(openai.project, limit=1, owner_project_access="any"))  # three pages
    assert [found.name for found in listed] == ["Made by hand", "Secret Key", "web"]
    updated = projects.api_keys.update(key.id, project_id=openai.project, expires_in_seconds=3600)
    assert updated.expires_at is not None
    assert projects.api_keys.retrieve(key.id, project_id=openai.project).expires_at == updated.expires_at
    assert projects.api_keys.delete(key.id, project_id=openai.project).deleted
    assert projects.service_accounts.delete(account.id, project_id=openai.project).deleted
    assert [found.id for found in projects.service_accounts.list(openai.project)] == [openai.service_account]
    assert [model.id for model in sdk.models.list()] == ["gpt-emulated"]


def test_the_official_client_knows_its_errors(sdk: official.OpenAI, openai: OpenAIEmulator) -> None:
    projects = sdk.admin.organization.projects
    with pytest.raises(official.NotFoundError):
        projects.retrieve("proj_other")
    openai.project_archived = True
    with pytest.raises(official.BadRequestError):
        projects.service_accounts.list(openai.project)
    openai.admin_key_state = "read_only"
    with pytest.raises(official.PermissionDeniedError):
        projects.service_accounts.create(openai.project, name="An app")
    openai.admin_key_state = "expired"
    with pytest.raises(official.AuthenticationError) as told:
        projects.retrieve(openai.project)
    assert told.value.code == "invalid_api_key"
    assert str(told.value.request_id).startswith("req_")
    openai.restrict(openai.keys()[0].id, "insufficient_quota")
    with pytest.raises(official.RateLimitError):
        sdk.models.list()
