"""deploy/kubernetes and deploy/helm: as the real kustomize and helm render them, against the schemas of Kubernetes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from kubernetes_validate.utils import ValidationError, validate

from rotator.access.vault import KubernetesAuth
from rotator.config import load
from rotator.settings import parse_duration
from tests.deploy.render import CHART, FOLDER, KUBERNETES, RENDERED, made_from

Json = dict[str, Any]
OLDEST, NEWEST = "1.30", "1.37"
CALL_BUDGET = timedelta(seconds=20)  # the default: how long a step in hand may take
DAEMON_GRACE = timedelta(seconds=30)  # the default of `rotator daemon --grace`


def documents(name: str) -> list[Json]:
    return [each for each in yaml.safe_load_all((FOLDER / f"{name}.yaml").read_text(encoding="utf-8")) if each]


def pod_of(document: Json) -> Json | None:
    """The spec of its pods."""
    if document["kind"] == "CronJob":
        document = document["spec"]["jobTemplate"]
    spec: Json | None = document.get("spec", {}).get("template", {}).get("spec")
    return spec


PODS = [
    pytest.param(pod, id=f"{name}-{document['metadata']['name']}")
    for name in RENDERED
    for document in documents(name)
    if (pod := pod_of(document)) is not None
]


def containers(pod: Json) -> Iterator[Json]:
    yield from pod.get("initContainers", [])
    yield from pod["containers"]


@pytest.mark.parametrize("name", RENDERED)
def test_what_is_recorded_is_what_the_files_are(name: str) -> None:
    first = (FOLDER / f"{name}.yaml").read_text(encoding="utf-8").partition("\n")[0]
    assert first == f"# {made_from(RENDERED[name][0])}", "run `make rendered`"


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
@pytest.mark.parametrize("name", RENDERED)
def test_kubernetes_knows_every_field(name: str, version: str) -> None:
    for document in documents(name):
        validate(document, version, strict=True)


def test_the_validation_notices_a_field_that_does_not_exist() -> None:
    job = next(d for d in documents("kustomize-cronjob") if d["kind"] == "CronJob")
    job["spec"]["concurencyPolicy"] = "Forbid"
    with pytest.raises(ValidationError):
        validate(job, NEWEST, strict=True)


@pytest.mark.parametrize("pod", PODS)
def test_every_pod_keeps_the_restricted_standard(pod: Json) -> None:
    """Pod Security Standards, `restricted`, each of its rules that is about something that these pods could have."""
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] > 0
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.keys()
    allowed = {"configMap", "secret", "projected", "emptyDir", "persistentVolumeClaim"}
    assert all(volume.keys() - {"name"} <= allowed for volume in pod["volumes"])
    for container in containers(pod):
        security = container["securityContext"]
        assert security == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert all("hostPort" not in port for port in container.get("ports", []))


@pytest.mark.parametrize("pod", PODS)
def test_no_pod_has_a_token_of_the_cluster_and_each_has_one_for_vault(pod: Json) -> None:
    assert pod["automountServiceAccountToken"] is False
    projected = [volume for volume in pod["volumes"] if "projected" in volume]
    assert [source for volume in projected for source in volume["projected"]["sources"]] == [
        {"serviceAccountToken": {"path": "vault", "audience": "vault", "expirationSeconds": 600}}
    ]
    settings = KubernetesAuth(method="kubernetes", role="keyturn")
    for container in containers(pod):
        mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
        assert settings.token.text == f"file:{mounts['vault-token']}/vault"


@pytest.mark.parametrize("pod", PODS)
def test_the_owner_of_the_tables_is_known_to_the_upgrade_alone(pod: Json) -> None:
    for container in containers(pod):
        mounts = {mount["name"] for mount in container["volumeMounts"]}
        assert ("owner" in mounts) == (container["command"] == ["rotator", "db", "upgrade"])


def test_nothing_is_given_rights_in_the_cluster() -> None:
    kinds = {document["kind"] for name in RENDERED for document in documents(name)}
    assert not {kind for kind in kinds if "Role" in kind}


@pytest.mark.parametrize("name", ["kustomize-cronjob", "kustomize-example", "helm-cronjob", "helm-sqlite"])
def test_the_cronjob_never_doubles_and_parks_before_it_is_killed(name: str) -> None:
    (job,) = (d for d in documents(name) if d["kind"] == "CronJob")
    spec, work, pod = job["spec"], job["spec"]["jobTemplate"]["spec"], pod_of(job)
    assert pod is not None
    (container,) = pod["containers"]
    assert (spec["concurrencyPolicy"], work["backoffLimit"], pod["restartPolicy"]) == ("Forbid", 0, "Never")
    assert container["command"] == ["rotate", "--fail-on", "new"]
    assert spec["startingDeadlineSeconds"] > 10  # else Kubernetes may miss every start
    assert spec["failedJobsHistoryLimit"]
    assert work["ttlSecondsAfterFinished"]
    env = {each["name"]: each["value"] for each in container["env"]}
    deadline = parse_duration(env["ROTATOR_DEADLINE"])
    assert deadline + CALL_BUDGET < timedelta(seconds=work["activeDeadlineSeconds"])
    assert timedelta(seconds=pod["terminationGracePeriodSeconds"]) > CALL_BUDGET


@pytest.mark.parametrize("name", ["kustomize-daemon", "helm-daemon"])
def test_one_daemon_stays_through_a_drain_and_each_has_time_to_end(name: str) -> None:
    found = documents(name)
    daemon = next(d for d in found if d["kind"] == "Deployment" and d["metadata"]["name"] == "keyturn")
    budget = next(d for d in found if d["kind"] == "PodDisruptionBudget")
    labels = daemon["spec"]["template"]["metadata"]["labels"]
    assert budget["spec"]["minAvailable"] < daemon["spec"]["replicas"]
    assert budget["spec"]["selector"]["matchLabels"].items() <= labels.items()
    pod = pod_of(daemon)
    assert pod is not None
    assert timedelta(seconds=pod["terminationGracePeriodSeconds"]) > DAEMON_GRACE
    (container,) = pod["containers"]
    assert container["command"][:2] == ["rotator", "daemon"]
    assert container["livenessProbe"]["httpGet"]["path"] == "/healthz"
    assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"


@pytest.mark.parametrize("name", RENDERED)
def test_what_is_for_3_a_m_sleeps_and_has_what_the_others_have(name: str) -> None:
    found = documents(name)
    ops = next(d for d in found if d["metadata"]["name"] == "rotator-ops")
    other = next(pod for d in found if d is not ops and (pod := pod_of(d)) is not None)
    pod = pod_of(ops)
    assert pod is not None
    assert ops["spec"]["replicas"] == 0
    assert pod["containers"][0]["volumeMounts"] == other["containers"][0]["volumeMounts"]
    assert pod["containers"][0]["image"] == other["containers"][0]["image"]
    assert pod["serviceAccountName"] == other["serviceAccountName"]
    assert pod["volumes"] == [volume for volume in other["volumes"] if volume["name"] != "owner"]


@pytest.mark.parametrize("name", RENDERED)
def test_the_network_policy_is_about_every_pod(name: str) -> None:
    found = documents(name)
    policy = next(d for d in found if d["kind"] == "NetworkPolicy")["spec"]
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    for document in found:
        if pod_of(document) is not None:
            spec = document["spec"].get("jobTemplate", document)["spec"]
            labels = spec["template"]["metadata"]["labels"]
            assert policy["podSelector"]["matchLabels"].items() <= labels.items()


@pytest.mark.parametrize("mode", ["cronjob", "daemon"])
def test_chart_and_manifests_run_the_same_pods(mode: str) -> None:
    def pods(name: str) -> dict[str, Any]:
        found = {d["metadata"]["name"]: pod_of(d) for d in documents(name) if pod_of(d) is not None}
        text = json.dumps(found)
        for document in documents(name):
            if document["kind"] == "ConfigMap":  # kustomize puts a hash behind its name
                text = text.replace(document["metadata"]["name"], "keyturn")
        loaded: dict[str, Any] = json.loads(text)
        for pod in loaded.values():
            pod["volumes"].sort(key=lambda volume: str(volume["name"]))
        return loaded

    assert pods(f"kustomize-{mode}") == pods(f"helm-{mode}")


def test_the_components_add_the_role_of_aws_and_the_volume() -> None:
    found = documents("kustomize-example")
    account = next(d for d in found if d["kind"] == "ServiceAccount")
    assert account["metadata"]["annotations"]["eks.amazonaws.com/role-arn"].startswith("arn:aws:iam::")
    for pod in filter(None, map(pod_of, found)):
        assert {"name": "data", "persistentVolumeClaim": {"claimName": "keyturn"}} in pod["volumes"]
        for container in containers(pod):
            assert {"name": "data", "mountPath": "/var/lib/rotator"} in container["volumeMounts"]


def test_the_configurations_in_them_are_configurations(tmp_path: Path) -> None:
    shipped = (KUBERNETES / "base" / "rotator.yaml").read_text(encoding="utf-8")
    values = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
    for number, text in enumerate((shipped, values["config"])):
        (tmp_path / f"{number}.yaml").write_text(text, encoding="utf-8")
        assert load(tmp_path / f"{number}.yaml").credentials
    assert yaml.safe_load(shipped) == yaml.safe_load(values["config"])


WRONG = [
    {"mode": "deamon"},
    {"replicas": 0},
    {"image": {"repository": "x", "digest": "sha256:short"}},
    {"mode": "daemon", "persistence": {"enabled": True}},
    {"secert": "x"},
]


@pytest.mark.parametrize("change", WRONG, ids=str)
def test_the_schema_of_the_values_refuses_what_cannot_work(change: Json) -> None:
    schema = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
    values = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
    jsonschema.validate(values, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**values, **change}, schema)
