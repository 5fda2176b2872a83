"""`rotator scan`: every planted key is found, in every form and in history, and none is said."""

from __future__ import annotations

import base64
import gzip
import io
import json
import subprocess
import tarfile
import zipfile
from pathlib import Path
from urllib.parse import quote

from rotator.testbed.openbao import OpenBao
from rotator.testbed.process import free_port
from tests.cli.house import House

ODD = 'generated, length: 32, alphabet: "abcdefghijkmnopqrstuvwxyz!#$/+=&%"'


def plant(folder: Path, name: str, text: str | bytes) -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode() if isinstance(text, str) else text)


def forms(key: str) -> dict[str, bytes]:
    """The key in every form that people copy it in. Name of a file → what it holds."""

    def b64(text: str) -> str:
        return base64.b64encode(text.encode()).decode()

    env = f"A=1\nAPI_KEY={key}\nB=2\n"
    texts = {
        "plain.env": env,
        "quoted.py": f'client = Client(key="{key}", retries=3)\n',
        "sentence.md": f"The key is {key}. Do not tell.\n",
        "minified.json": json.dumps({"a": {"key": key}}, separators=(",", ":")),
        "escaped.json": '{"key": "' + "".join(f"\\u{ord(c):04x}" for c in key) + '"}',
        "nested.json": json.dumps({"config": json.dumps({"key": key})}),
        "address.txt": f"postgres://app:{quote(key, safe='')}@db/x?sslmode=require\n",
        "query.txt": f"GET /v1?api_key={quote(key, safe='')}&page=2\n",
        "secret.yaml": f"data:\n  key: {b64(key)}\n",
        "line.yaml": f"data:\n  key: {b64(key + chr(10))}\n",
        "whole.yaml": f"data:\n  .env: {b64(env)}\n",
        "basic.txt": f"Authorization: Basic {b64('app:' + key)}\n",
        "basic2.txt": f"Authorization: Basic {b64('ap:' + key)}\n",
        "basic3.txt": f"Authorization: Basic {b64('a:' + key)}\n",
        "wrapped.pem": base64.encodebytes((env + "#" * 80).encode()).decode(),
        "urlsafe.txt": base64.urlsafe_b64encode(key.encode()).decode().rstrip("=") + "\n",
    }
    found = {name: text.encode() for name, text in texts.items()}
    found["windows.env"] = env.encode("utf-16")
    found["packed.gz"] = gzip.compress(env.encode())
    zipped = io.BytesIO()
    with zipfile.ZipFile(zipped, "w") as archive:
        archive.writestr("in/app.env", env)
    found["packed.zip"] = zipped.getvalue()
    tarred = io.BytesIO()
    with tarfile.open(fileobj=tarred, mode="w:gz") as archive_of:
        member = tarfile.TarInfo("in/inner.zip")
        member.size = len(zipped.getvalue())
        archive_of.addfile(member, io.BytesIO(zipped.getvalue()))
    found["packed.tar.gz"] = tarred.getvalue()
    return found


def git(folder: Path, *command: str) -> None:
    who = ("-c", "user.name=ann", "-c", "user.email=ann@test", "-c", "commit.gpgsign=false")
    subprocess.run(["git", "-C", str(folder), *who, *command], check=True, capture_output=True)


def test_every_planted_key_is_found_in_every_form(house: House, tmp_path: Path) -> None:
    house.change("{local: {type: generated}}", f"{{local: {{type: generated}}, odd: {{type: {ODD}}}}}")
    house.change("  mail:\n    provider: local", "  mail:\n    provider: odd")
    assert house.rotate().status == 0
    keys = {"web": house.values()["WEB"], "mail": house.values("other/other.env")["MAIL"]}
    assert house.rotate("--now", "web").status == 0
    tree = tmp_path / "tree"
    planted = {(name, f"{name}-{file}") for name, key in keys.items() for file in forms(key)}
    for name, key in keys.items():
        for file, text in forms(key).items():
            plant(tree, f"{name}-{file}", text)
    plant(tree, "noise.txt", "nothing of ours: " + "x1Y2" * 10)
    ran = house.run("scan", "--json", str(tree))
    assert ran.status == 1
    found = {(row["credential"], Path(row["file"].partition("!")[0]).name) for row in ran.json["findings"]}
    assert planted - found == set()
    assert found - planted == set()
    assert {row["version"] for row in ran.json["findings"] if row["credential"] == "web"} == {1}


def test_history_and_ignore_files_are_those_of_git(house: House, tmp_path: Path) -> None:
    assert house.rotate().status == 0
    key, tree = house.values()["WEB"], tmp_path / "tree"
    plant(tree, "config.py", f"one = 1\nKEY = '{key}'\n")
    git(tree.parent, "init", "-q", str(tree))
    git(tree, "add", "-A")
    git(tree, "commit", "-qm", "first")
    plant(tree, "config.py", "one = 1\n")
    plant(tree, ".gitignore", "local/\n")
    plant(tree, "local/x.env", f"K={key}\n")
    git(tree, "add", "-A")
    git(tree, "commit", "-qm", f"take it out; it was {key}")
    assert house.run("scan", str(tree)).status == 0
    assert house.run("scan", "--no-ignore", str(tree)).status == 1
    rows = house.run("scan", "--history", "--json", str(tree)).json["findings"]
    assert {(row["file"] == "config.py", row["line"]) for row in rows} == {(True, 2), (False, 1)}
    assert "message of commit" in "".join(row["file"] for row in rows)
    assert all(row["commit"] for row in rows)


def test_stdin_sarif_and_what_is_not_ours(house: House) -> None:
    assert house.rotate().status == 0
    key = house.values()["WEB"]
    stranger = "sk-proj-" + "Zx81kQ0vvT3" * 4
    house.canaries.watch(stranger)
    ran = house.run("scan", "--sarif", "-", stdin=f"a: {key}\nb: {stranger}\n")
    assert ran.status == 1
    results = ran.json["runs"][0]["results"]
    assert [(r["ruleId"], r["locations"][0]["physicalLocation"]["region"]) for r in results] == [
        ("managed-key", {"startLine": 1, "startColumn": 4}),
        ("unknown-key", {"startLine": 2, "startColumn": 4}),
    ]
    assert ran.json["version"] == "2.1.0"
    text = house.run("scan", "-", stdin=f"a: {key}\n")
    assert text.out.startswith("stdin:1:4: version 1 of web (current, ")
    assert "rotate --compromised web --key" in text.err


def test_a_key_at_its_destination_is_no_leak_and_a_copy_elsewhere_is(house: House) -> None:
    assert house.rotate().status == 0
    assert house.run("scan", str(house.folder)).status == 0
    plant(house.folder, "forgotten.env", f"WEB={house.values()['WEB']}\n")
    ran = house.run("scan", str(house.folder))
    assert ran.status == 1
    assert "forgotten.env:1:5: version 1 of web" in ran.out


def test_what_cannot_be_searched_is_told(house: House, tmp_path: Path) -> None:
    plant(tmp_path / "t", "a.bin", b"\0\1\2")
    plant(tmp_path / "t", "b.zip", b"PK\3\4 and no more")
    ran = house.run("scan", str(tmp_path / "t"))
    assert (ran.status, "2 left out (an archive that cannot be opened, or not wholly, binary)" in ran.err) == (0, True)
    missing = house.run("scan", str(tmp_path / "nowhere"))
    assert (missing.status, "there is no file or folder" in missing.err) == (2, True)


def name_vault(house: House, address: str) -> None:
    """Add a server to the configuration."""
    entry = f"vault: {{type: vault-kv, address: {address}, auth: {{method: token, token: file:token}}}}"
    house.change("destinations:\n", f"destinations:\n  {entry}\n")


def test_copies_in_places_that_no_destination_names_are_found(house: House, openbao: OpenBao, tmp_path: Path) -> None:
    (house.folder / "token").write_text(openbao.token)
    name_vault(house, openbao.url)
    home, forgotten = (f"team-{tmp_path.name}/{name}" for name in ("web", "forgotten"))
    fields = '{WEB: "{secret}"}'
    house.change(
        f"[{{to: app, fields: {fields}}}]",
        f"[{{to: app, fields: {fields}}}, {{to: vault, path: {home}, fields: {fields}}}]",
    )
    assert house.rotate().status == 0
    web, mail = house.values()["WEB"], house.values("other/other.env")["MAIL"]
    assert (
        " of web (" not in house.run("scan", "--destinations", "--quiet").out
    )  # other tests' places are there as well
    copies = {"URL": f"https://user:{web}@api.test/", "OTHER": "1"}
    openbao.call("POST", f"secret/data/{forgotten}", {"data": copies})
    openbao.call("POST", f"secret/data/{home}-mail", {"data": {"M": base64.b64encode(mail.encode()).decode()}})
    plant(house.folder, ".env.old", f"# once\nWEB={web}\n")
    ran = house.run("scan", "--destinations")
    assert ran.status == 1
    lines = [line for line in ran.out.splitlines() if "looks like a key" not in line]
    assert [line.partition(" (current")[0] for line in lines] == [
        f"env-file:{house.folder}/.env.old:2:5: version 1 of web",
        f"vault:secret/{forgotten} (URL):1:14: version 1 of web",
        f"vault:secret/{home}-mail (M):1:1: version 1 of mail",
    ]
    assert "To do: add the place to the destinations of web" in ran.err
    # a key at the place of another credential is a copy too
    openbao.call("POST", f"secret/data/{home}", {"data": {"WEB": web, "MAIL": mail}})
    rows = house.run("scan", "--destinations", "--json").json["findings"]
    assert (f"vault:secret/{home} (MAIL)", "mail") in {(row["file"], row["credential"]) for row in rows}


def test_a_server_that_cannot_be_looked_through_is_trouble_and_others_are_searched(house: House) -> None:
    assert house.rotate().status == 0
    (house.folder / "token").write_text("none")
    dead = f"http://127.0.0.1:{free_port()}"
    name_vault(house, dead)
    plant(house.folder, ".env.old", f"WEB={house.values()['WEB']}\n")
    ran = house.run("scan", "--destinations")
    assert (ran.status, ".env.old:1:5" in ran.out, "Not searched: " in ran.err) == (1, True, True)
    assert dead in " ".join(house.run("scan", "--destinations", "--json").json["failed"])
    assert house.run("scan").status == 2
