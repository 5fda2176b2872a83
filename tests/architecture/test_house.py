"""The house keeps its rules."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "rotator"

REVEALS = {
    "access/aws.py",
    "access/openai.py",
    "access/process.py",
    "access/value_ids.py",
    "sinks/http.py",
    "consumers/deployment.py",
    "config/models.py",  # a database URL that is read from a reference
    "destinations/aws_secrets_manager.py",
    "destinations/env_file.py",
    "destinations/vault_kv.py",
    "domain/template.py",
    "hooks/command.py",  # public facts alone
    "hooks/http.py",  # the key that signs
    "notifiers/apprise.py",  # addresses that hold tokens
    "notifiers/webhook.py",  # the key that signs
    "providers/aws_iam.py",
    "providers/anthropic.py",
    "providers/openai.py",
    "providers/openai_admin.py",
    "providers/postgres.py",
    "providers/vault_approle.py",
    "store/material.py",
    "scanning/sources.py",  # what stands at a place, to be searched in this process
    "sealers/local.py",
    "store/signing.py",
    "access/postgres.py",
    "access/vault.py",
}
"""Where a secret may leave its `Secret`: where it is sealed, sent, written or rendered."""


def sources() -> list[Path]:
    return [p for p in sorted(PACKAGE.rglob("*.py")) if "testbed" not in p.parts and "demo" not in p.parts]


def test_secrets_are_revealed_only_where_they_are_sealed_sent_or_written() -> None:
    callers = set()
    for path in sources():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute) and node.attr == "reveal":
                callers.add(str(path.relative_to(PACKAGE)))
    assert callers == REVEALS


def test_no_program_is_started_with_our_whole_environment() -> None:
    started = []
    for path in sources():
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.Call(func=ast.Attribute(ast.Name("subprocess"), name), keywords=keywords):
                    started.append(name)
                    assert "env" in {keyword.arg for keyword in keywords}, path
                case ast.Attribute(ast.Name("os"), name):
                    assert not name.startswith(("exec", "fork", "popen", "posix_spawn", "spawn", "system")), path
    assert len(started) > 2


def test_only_the_store_writes_states() -> None:
    for path in sources():
        if "store" not in path.parts:
            imported = {
                alias.name.split(".")[0]
                for node in ast.walk(ast.parse(path.read_text()))
                if isinstance(node, ast.Import | ast.ImportFrom)
                for alias in ([ast.alias(node.module or "")] if isinstance(node, ast.ImportFrom) else node.names)
            }
            assert "sqlalchemy" not in imported, path


def test_the_core_never_asks_the_clock() -> None:
    for path in sources():
        if {"domain", "engine", "ports", "config"} & set(path.relative_to(PACKAGE).parts):
            text = path.read_text()
            assert "datetime.now(" not in text, path
            assert "time.time(" not in text, path


def test_a_module_of_an_adapter_imports_no_heavy_library_by_itself() -> None:
    modules = [
        f"rotator.{kind}.{path.stem}"
        for kind in ("providers", "destinations", "hooks", "consumers", "notifiers", "sealers")
        for path in (PACKAGE / kind).glob("[a-z]*.py")
    ]
    code = (
        f"import sys, importlib\n[importlib.import_module(m) for m in {modules}]\n"
        "heavy = ('boto3', 'botocore', 'hvac', 'httpx', 'requests', 'apprise', 'sqlalchemy')\n"
        "print([m for m in heavy if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert found.stdout.strip() == "[]"


def test_an_adapter_is_imported_only_when_a_configuration_names_it(tmp_path: Path) -> None:
    (tmp_path / "rotator.yaml").write_text(
        "providers: {local: {type: generated}}\n"
        "credentials: {session: {provider: local, destinations: [env-file:/tmp/x.env]}}\n"
    )
    code = (
        "import sys; from pathlib import Path; from rotator.config import load; load(Path('rotator.yaml'))\n"
        "print(sorted(m for m in sys.modules if m.startswith(('rotator.providers.', 'rotator.destinations.'))))"
    )
    found = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT)},
    )
    assert found.stdout.strip() == "['rotator.destinations.env_file', 'rotator.providers.generated']"
