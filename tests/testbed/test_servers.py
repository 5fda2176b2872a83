"""The test servers start, are really ready, behave as the real ones where it matters, and leave nothing behind."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
from botocore.exceptions import ClientError

from rotator.testbed.aws import Aws, AwsKey
from rotator.testbed.openbao import OpenBao
from rotator.testbed.postgres import Postgres
from rotator.testbed.process import NotReady, Server, free_port, http_status, wait_until


class Sleeper(Server):
    """A server that does nothing, with a child of its own, which takes its time."""

    def command(self) -> list[str]:
        return ["/bin/sh", "-c", "echo ready; sleep 600 & echo child $!; wait"]

    def ready(self) -> bool:
        return "child" in self.log


class Broken(Server):
    """A server that ends at once."""

    def command(self) -> list[str]:
        return ["/bin/sh", "-c", "echo the reason why; exit 3"]

    def ready(self) -> bool:
        return False


def _alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def _dsn(url: str) -> str:
    return url.replace("+psycopg", "")


def test_a_free_port_is_below_the_ephemeral_ones() -> None:
    assert all(1024 < free_port(width=2) < 32_767 for _ in range(50))


def test_a_server_that_does_not_start_says_why_and_leaves_no_folder() -> None:
    server = Broken()
    with pytest.raises(NotReady, match="the reason why"):
        server.start()
    assert server.folder == Path()
    assert not server.is_running()


def test_a_server_whose_program_is_missing_says_so() -> None:
    class Missing(Broken):
        def command(self) -> list[str]:
            return ["/nowhere/server"]

    server = Missing()
    with pytest.raises(NotReady, match="/nowhere/server"):
        server.start()
    assert server.folder == Path()


def test_a_server_that_finds_its_port_taken_takes_another() -> None:
    with socket.socket() as taken, OpenBao() as bao:
        bao.close()
        taken.bind(("127.0.0.1", bao.port))
        bao.start()
        assert bao.port != taken.getsockname()[1]


def test_a_stopped_server_takes_its_children_and_its_folder_with_it() -> None:
    with Sleeper() as server:
        folder = server.folder
        child = int(server.log.split()[-1])
        assert _alive(child)
    assert wait_until(lambda: not _alive(child), within=10)
    assert not folder.exists()


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_no_server_outlives_the_program_that_began_it(end: signal.Signals) -> None:
    program = (
        "import time\n"
        "from rotator.testbed.openbao import OpenBao\n"
        "from rotator.testbed.postgres import Postgres\n"
        "with OpenBao() as bao, Postgres() as postgres:\n"
        "    print(bao.port, bao._process.pid, postgres._process.pid, bao.folder, postgres.folder, flush=True)\n"
        "    time.sleep(600)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as running:
        assert running.stdout
        port, bao, postgres, *folders = running.stdout.readline().split()
        assert http_status(int(port), "/v1/sys/health") == 200
        running.send_signal(end)
        running.wait(20)
    assert wait_until(lambda: not _alive(int(bao)) and not _alive(int(postgres)), within=20)
    for folder in folders:  # after SIGKILL nobody was there to remove them
        shutil.rmtree(folder, ignore_errors=True)


def test_a_fork_that_ends_does_not_end_the_servers() -> None:
    with Sleeper() as server:
        child = os.fork()
        if child == 0:
            server.close()
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        assert server.is_running()
        assert server.folder.exists()


def test_openbao_is_ready_for_the_first_write(openbao: OpenBao) -> None:
    openbao.call("POST", "secret/data/testbed/first", {"data": {"a": "1"}, "options": {"cas": 0}})
    assert openbao.call("GET", "secret/data/testbed/first")["data"]["data"] == {"a": "1"}


def test_a_sealed_openbao_answers_503_and_keeps_its_data() -> None:
    with OpenBao() as bao:
        bao.call("POST", "secret/data/x", {"data": {"a": "1"}})
        bao.seal()
        with pytest.raises(ValueError, match="503"):
            bao.call("GET", "secret/data/x")
        bao.unseal()
        assert bao.call("GET", "secret/data/x")["data"]["data"] == {"a": "1"}


def test_every_database_is_new_and_empty(postgres: Postgres) -> None:
    urls = [postgres.fresh_url("same"), postgres.fresh_url("same")]
    assert urls[0] != urls[1]
    for url in urls:
        with psycopg.connect(_dsn(url)) as connection:
            connection.execute("create table only_here (x int)")


def test_postgres_refuses_a_wrong_password(postgres: Postgres) -> None:
    url = _dsn(postgres.fresh_url())
    head, _, tail = url.rpartition("@")
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(f"{head[:-4]}0000@{tail}")


def test_postgres_keeps_address_and_data_over_a_restart() -> None:
    with Postgres() as server:
        url = _dsn(server.fresh_url())
        with psycopg.connect(url) as connection:
            connection.execute("create table kept as select 7 as x")
        server.stop()
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(url)
        server.start()
        with psycopg.connect(url) as connection:
            assert connection.execute("select x from kept").fetchone() == (7,)


def test_postgres_commits_durably(postgres: Postgres) -> None:
    with psycopg.connect(_dsn(postgres.url())) as connection:
        settings = [connection.execute(f"show {name}").fetchone() for name in ("fsync", "synchronous_commit")]
    assert settings == [("on",), ("on",)]


def test_the_administrator_may_do_everything(aws: Aws) -> None:
    assert aws.client("sts").get_caller_identity()["Arn"] == f"arn:aws:iam::{aws.account}:user/root"
    secrets = aws.client("secretsmanager")
    secrets.create_secret(Name="testbed/administrator", SecretString="x")
    assert secrets.get_secret_value(SecretId="testbed/administrator")["SecretString"] == "x"


def _refusal(ask: Callable[[], object]) -> str:
    with pytest.raises(ClientError) as refused:
        ask()
    return str(refused.value.response["Error"]["Code"])


def test_a_wrong_secret_is_refused(aws: Aws) -> None:
    wrong = AwsKey(aws.root.access_key_id, "not-the-secret")
    assert _refusal(aws.client("sts", wrong).get_caller_identity) == "SignatureDoesNotMatch"


def test_a_deleted_key_is_refused(aws: Aws) -> None:
    key = aws.user("testbed-deleted")
    assert aws.client("sts", key).get_caller_identity()["Arn"].endswith(":user/testbed-deleted")
    aws.client("iam").delete_access_key(UserName="testbed-deleted", AccessKeyId=key.access_key_id)
    assert _refusal(aws.client("sts", key).get_caller_identity) == "InvalidClientTokenId"


def test_a_user_may_only_do_what_the_policy_says(aws: Aws) -> None:
    key = aws.user("testbed-limited", allow=("iam:ListAccessKeys",))
    iam = aws.client("iam", key)
    assert len(iam.list_access_keys(UserName="testbed-limited")["AccessKeyMetadata"]) == 1
    assert _refusal(lambda: iam.create_access_key(UserName="testbed-limited")) == "AccessDenied"


def test_without_authentication_any_key_is_taken() -> None:
    with Aws() as aws:
        anybody = AwsKey("AKIAANYBODY", "anything")
        assert aws.client("sts", anybody).get_caller_identity()["Account"] == aws.account


def test_an_access_key_does_not_show_its_secret(aws: Aws) -> None:
    assert aws.root.secret_access_key not in repr(aws.root)


def test_a_closed_server_no_longer_answers() -> None:
    with Aws() as aws:
        url = aws.url
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(url, timeout=5)


def test_postgres_comes_back_after_a_kill_with_what_was_committed() -> None:
    with Postgres() as server:
        dsn = _dsn(server.fresh_url())
        with psycopg.connect(dsn) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 1 AS one")
        server.kill()
        server.kill()
        assert not server.is_running()
        server.start()
        with psycopg.connect(dsn) as connection:
            assert connection.execute("SELECT one FROM kept").fetchone() == (1,)
