"""The pods of deploy/kubernetes, run as their manifests say: a read-only root, and nobody who is root."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import psycopg
import yaml
from sqlalchemy import make_url

from rotator.sealers.local import new_key
from rotator.testbed.openbao import OpenBao
from rotator.testbed.postgres import Postgres
from rotator.testbed.process import free_port, wait_until
from tests.deploy.pod import Pod
from tests.deploy.render import KUBERNETES
from tests.deploy.test_kubernetes import documents, pod_of
from tests.destinations.test_vault_kubernetes import Cluster, cluster
from tests.store.conftest import ROLES, plain

__all__ = ["cluster"]


def pod(name: str, document: str, folder: Path) -> Pod:
    """With the volumes of a cluster in which nothing is yet."""
    spec = next(found for d in documents(name) if d["metadata"]["name"] == document and (found := pod_of(d)))
    volumes = {volume["name"]: folder / volume["name"] for volume in spec["volumes"] if "emptyDir" not in volume}
    for path in (folder / "root", *volumes.values()):
        path.mkdir()
    return Pod(spec, volumes, folder / "root")


def secret(pod: Pod) -> str:
    """Where its credential is kept; each test has a place of its own."""
    return f"web/{pod.folder.parent.name}"


def settle_in(pod: Pod, cluster: Cluster, postgres: Postgres) -> str:
    """The shipped configuration, for servers on this machine, and the Secrets that deploy/README.md asks for."""
    settings: dict[str, Any] = yaml.safe_load((KUBERNETES / "base" / "rotator.yaml").read_text(encoding="utf-8"))
    vault = settings["destinations"]["vault"]
    vault["address"] = cluster.gate.url
    vault["auth"]["mount"] = cluster.mount
    settings["credentials"]["session"]["destinations"][0]["path"] = secret(pod)
    owner = make_url(postgres.fresh_url("pod"))
    app = owner.set(username=f"app_{owner.database}", password="app")
    volumes = pod.volumes
    (volumes["config"] / "rotator.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    (volumes["secrets"] / "database-url").write_text(app.render_as_string(hide_password=False))
    (volumes["secrets"] / "rotator.key").write_text(new_key())
    (volumes["owner"] / "database-url").write_text(owner.render_as_string(hide_password=False))
    (volumes["vault-token"] / "vault").write_text(cluster.token.read_text())
    pod.give()
    return owner.render_as_string(hide_password=False)


def upgraded(pod: Pod, owner: str) -> None:
    """The init container has run, and the owner has let the application's role in."""
    ran = pod.run("upgrade")
    assert ran.status == 0, ran.err
    app = str(make_url(owner).database)
    with psycopg.connect(plain(owner)) as connection:
        connection.execute(ROLES)
        connection.execute(f"CREATE ROLE app_{app} LOGIN PASSWORD 'app' IN ROLE keyturn_app")


def test_a_job_rotates_where_nothing_can_be_written_and_nobody_is_root(
    cluster: Cluster, openbao: OpenBao, postgres: Postgres, tmp_path: Path
) -> None:
    job = pod("kustomize-cronjob", "keyturn", tmp_path)
    upgraded(job, settle_in(job, cluster, postgres))
    for _ in range(2):  # the second finds nothing to do
        ran = job.run("rotate")
        assert ran.status == 0, ran.err
        for line in ran.err.splitlines():
            json.loads(line)  # ROTATOR_LOG_FORMAT
    kept = openbao.call("GET", f"secret/data/{secret(job)}")["data"]
    assert kept["metadata"]["version"] == 1
    assert kept["data"]["SESSION_SECRET"]
    again = job.run("upgrade")  # the next Job begins so
    assert again.status == 0, again.err


def test_it_is_as_narrow_as_its_manifest_says(cluster: Cluster, postgres: Postgres, tmp_path: Path) -> None:
    """Else the test above proves nothing."""
    job = pod("kustomize-cronjob", "keyturn", tmp_path)
    settle_in(job, cluster, postgres)
    looks = """
        id -u; id -g; pwd; grep CapEff /proc/self/status; grep NoNewPrivs /proc/self/status
        for place in / /etc/rotator /run/secrets/keyturn /var/empty; do
            touch $place/x 2>/dev/null && echo wrote $place
        done
        touch /tmp/x && echo wrote /tmp
        cat /run/secrets/keyturn-owner/database-url 2>/dev/null && echo the owner
        env | cut -d= -f1 | sort | tr '\\n' ' '
    """
    said = job.run("rotate", "sh", "-c", looks).out.splitlines()
    assert said[:3] == ["10001", "10001", "/var/empty"]
    assert said[3].split()[1] == "0000000000000000"
    assert said[4].split()[1] == "1"
    assert said[5] == "wrote /tmp"
    assert set(said[6].split()) - {"PWD", "_", "SHLVL", "OLDPWD"} == {
        "PATH",
        "PYTHONDONTWRITEBYTECODE",
        "PYTHONUNBUFFERED",
        "ROTATOR_CONFIG",
        "ROTATOR_DEADLINE",
        "ROTATOR_LOG_FORMAT",
    }


def test_a_daemon_serves_there_until_sigterm(
    cluster: Cluster, openbao: OpenBao, postgres: Postgres, tmp_path: Path
) -> None:
    daemon = pod("kustomize-daemon", "keyturn", tmp_path)
    upgraded(daemon, settle_in(daemon, cluster, postgres))
    (container,) = daemon.spec["containers"]
    port = free_port()  # others may listen on this machine, which is no pod
    command = [word.replace("9464", str(port)) for word in container["command"]]
    assert command != container["command"]
    log = (tmp_path / "log").open("w+")
    process = daemon.start(container["name"], *command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def ready() -> bool:
        try:
            with urlopen(f"http://127.0.0.1:{port}{container['readinessProbe']['httpGet']['path']}") as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    try:
        assert wait_until(ready, within=60)
        assert wait_until(lambda: is_kept(openbao, secret(daemon)), within=60)
        process.send_signal(signal.SIGTERM)
        status = process.wait(daemon.spec["terminationGracePeriodSeconds"])
    finally:
        process.kill()
        log.close()
    assert status == 0, (tmp_path / "log").read_text()


def is_kept(openbao: OpenBao, path: str) -> bool:
    try:
        return bool(openbao.call("GET", f"secret/data/{path}")["data"]["data"]["SESSION_SECRET"])
    except ValueError:  # not yet
        return False
