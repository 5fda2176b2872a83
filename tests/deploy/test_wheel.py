"""What a user installs: the wheel, built from this tree, in a virtual environment of its own, used as on a first day.

What the package needs is taken from the environment of the tests, so that no index is asked.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from zipfile import ZipFile

import pytest
import yaml

from tests.cli.house import until
from tests.deploy.test_systemd import unit

ROOT = Path(__file__).parents[2]
NOBODY = 65534
BUILT_FROM = ("pyproject.toml", "README.md", "LICENSE", "rotator", "migrations", "docs", "deploy")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    for name in BUILT_FROM:
        path, to = ROOT / name, source / name
        shutil.copytree(path, to, ignore=shutil.ignore_patterns("__pycache__")) if path.is_dir() else shutil.copy(
            path, to
        )
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    subprocess.run(build, cwd=source, check=True, capture_output=True)
    (made,) = folder.glob("*.whl")
    return made


@pytest.fixture(scope="module")
def interpreter() -> tuple[str, int | None]:
    """A Python of this version, and another user who may run it with what is installed here; None where nobody may."""
    if os.geteuid() == 0:
        code = f"import sys; assert sys.version_info[:2] == {sys.version_info[:2]}; import click"
        for python in (getattr(sys, "_base_executable", sys.executable), "/usr/bin/python3"):
            options: dict[str, Any] = {"user": NOBODY, "group": NOBODY, "extra_groups": [], "cwd": "/"}
            with suppress(OSError, subprocess.CalledProcessError):
                subprocess.run([python, "-c", code], env=environ(Path("/")), check=True, capture_output=True, **options)
                return python, NOBODY
    return sys.executable, None


@pytest.fixture(scope="module")
def installed(interpreter: tuple[str, int | None], wheel: Path) -> Iterator[Path]:
    """The folder of its scripts. Everybody may read it, as nobody but us may what pytest makes."""
    with TemporaryDirectory() as name:
        yield _installed(interpreter, wheel, Path(name))


def _installed(interpreter: tuple[str, int | None], wheel: Path, folder: Path) -> Path:
    subprocess.run([interpreter[0], "-m", "venv", "--without-pip", str(folder)], check=True)
    pip = [sys.executable, "-m", "pip", "--python", str(folder / "bin" / "python"), "install"]
    subprocess.run([*pip, "--quiet", "--no-deps", "--no-index", str(wheel)], check=True, capture_output=True)
    folder.chmod(0o755)
    return folder / "bin"


def environ(scripts: Path, changes: Mapping[str, str] | None = None) -> dict[str, str]:
    """As on a machine of its own, but for what the package needs: not this tree."""
    needed = sysconfig.get_path("purelib")
    return {"PATH": f"{scripts}:/usr/bin:/bin", "PYTHONPATH": needed, "PYTHONWARNINGS": "error", **(changes or {})}


def run(
    scripts: Path, folder: Path, *command: str, env: Mapping[str, str] | None = None, user: int | None = None
) -> str:
    """Run it to its end, which has to be good; return what it said."""
    as_other = {"user": user, "group": user, "extra_groups": []} if user is not None else {}
    ran = subprocess.run(
        [scripts / command[0], *command[1:]],
        cwd=folder,
        env=environ(scripts, env),
        text=True,
        capture_output=True,
        check=False,
        timeout=120,
        **as_other,  # type: ignore[call-overload]
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "Traceback" not in ran.stderr
    return str(ran.stdout)


def test_the_wheel_has_all_that_runs_and_nothing_of_this_machine(wheel: Path) -> None:
    with ZipFile(wheel) as opened:
        names = opened.namelist()
        assert str(ROOT).encode() not in b"".join(opened.read(name) for name in names)
    assert "rotator/migrations/versions/0001_first.py" in names
    assert "rotator/reasons.md" in names
    assert [name for name in names if name.endswith("share/man/man1/rotate.1")]
    assert not [name for name in names if name.startswith("tests/")]


def test_a_new_user_gets_from_nothing_to_a_rotated_key(installed: Path, tmp_path: Path) -> None:
    where = run(installed, tmp_path, "python", "-c", "import rotator; print(rotator.__file__)").strip()
    assert Path(where).is_relative_to(installed.parent)  # the installed one, not this tree
    assert "Usage: rotate" in run(installed, tmp_path, "rotate", "--help")
    run(installed, tmp_path, "rotator", "init")
    assert "0 failed" in run(installed, tmp_path, "rotator", "check")
    run(installed, tmp_path, "rotate")
    first = (tmp_path / "app.env").read_text()
    run(installed, tmp_path, "rotate", "--now", "--all")
    assert (tmp_path / "app.env").read_text() != first
    assert "nothing to do" in run(installed, tmp_path, "rotator", "db", "upgrade")
    assert json.loads(run(installed, tmp_path, "rotator", "status", "--json"))["healthy"]
    assert (installed.parent / "share" / "man" / "man1" / "rotator.1").is_file()


def test_a_database_is_made_by_the_migrations_in_the_wheel(installed: Path, tmp_path: Path) -> None:
    run(installed, tmp_path, "rotator", "init")
    for path in tmp_path.glob("rotator.db*"):
        path.unlink()
    assert "applied revision" in run(installed, tmp_path, "rotator", "db", "upgrade")


def test_the_daemon_runs_by_the_line_of_its_unit(installed: Path, tmp_path: Path) -> None:
    """ExecStart, ExecReload, its notification and its end, as systemd does it; no systemd runs here."""
    run(installed, tmp_path, "rotator", "init")
    service = unit("rotator.service")["Service"]
    program, *arguments = service["ExecStart"][0].split()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(60)
        env = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "ROTATOR_CONFIG": str(tmp_path / "rotator.yaml")}
        command = [str(installed / Path(program).name), *arguments]
        daemon = subprocess.Popen(command, env=environ(installed, env), stderr=subprocess.PIPE, text=True)
        try:
            heard(systemd, "READY=1")
            until((tmp_path / "app.env").exists, 60)
            daemon.send_signal(signal.SIGHUP)
            heard(systemd, "RELOADING=1")
            daemon.send_signal(signal.SIGTERM)
            heard(systemd, "STOPPING=1")
            _, said = daemon.communicate(timeout=float(service["TimeoutStopSec"][0]))
        finally:
            daemon.kill()
            daemon.wait()
    assert daemon.returncode == 0, said


def heard(listening: socket.socket, word: str) -> None:
    while word not in listening.recv(4096).decode().splitlines():
        pass


@pytest.fixture
def pod(installed: Path, interpreter: tuple[str, int | None]) -> Iterator[tuple[dict[str, str], Path]]:
    """The CronJob's environment and its mounts: configuration and secrets cannot be written, one volume can.

    Where the tests run as root, the command runs as another user if one can be had; nobody has the write bits.
    """
    job = yaml.safe_load((ROOT / "deploy/kubernetes/overlays/cronjob/cronjob.yaml").read_text(encoding="utf-8"))
    (container,) = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"]
    env = {each["name"]: each["value"] for each in container["env"]}
    with TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        config, volume = folder / "etc", folder / "volume"
        config.mkdir()
        volume.mkdir()
        run(installed, config, "rotator", "init")
        for path in config.glob("rotator.db*"):
            path.unlink()
        document = yaml.safe_load((config / "rotator.yaml").read_text(encoding="utf-8"))
        document["store"] = {"url": f"sqlite:///{volume}/rotator.db"}
        for place in document["destinations"].values():
            place["path"] = str(volume / "app.env")
        (config / "rotator.yaml").write_text(yaml.safe_dump(document), encoding="utf-8")
        if (user := interpreter[1]) is not None:
            os.chown(volume, user, user)
            os.chown(config / "rotator.key", user, user)
        for path in (*config.iterdir(), config):
            path.chmod(0o555 if path.is_dir() else 0o400 if path.name == "rotator.key" else 0o444)
        yield env | {"ROTATOR_CONFIG": str(config / "rotator.yaml"), "ROTATOR_ACTOR": "pod:keyturn"}, volume


def test_the_commands_of_the_cronjob_run_without_root_and_write_to_their_volume_alone(
    pod: tuple[dict[str, str], Path], installed: Path, interpreter: tuple[str, int | None]
) -> None:
    (env, volume), (_, user) = pod, interpreter
    home = Path(env["ROTATOR_CONFIG"]).parent
    before = sorted(home.rglob("*"))
    job = yaml.safe_load((ROOT / "deploy/kubernetes/overlays/cronjob/cronjob.yaml").read_text(encoding="utf-8"))
    spec = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    for container in (*spec["initContainers"], *spec["containers"]):
        run(installed, home, *container["command"], env=env, user=user)
    assert "session" in (volume / "app.env").read_text().lower()
    assert sorted(home.rglob("*")) == before
