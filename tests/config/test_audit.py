"""`audit:`, the sinks of the trail."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import yaml
from jsonschema import Draft202012Validator

from rotator.config import json_schema
from tests.config.sample import BASE, load_text, told

TEXT = """\
audit:
  sinks:
    archive: {type: file, path: log/audit.jsonl}
    siem: {type: syslog, host: siem.example, ca_file: ca.pem, format: cef}
    worm: {type: s3, bucket: acme-audit, retain: 400d, region: eu-west-1}
    http: {url: 'https://collector.example/rotator', sign: 'env:SINK_KEY', format: ocsf}
  require_sink: [siem]
credentials: {web: {provider: local, destinations: [web]}}
"""


def test_every_kind_of_sink_is_read(tmp_path: Path) -> None:
    config = load_text(tmp_path, BASE + TEXT)
    assert [sink.adapter.__name__ for sink in config.sinks.values()] == ["FileSink", "SyslogSink", "S3Sink", "HttpSink"]
    assert config.require_sink == ("siem",)
    assert config.sinks["archive"].settings.path == tmp_path / "log" / "audit.jsonl"
    assert (config.sinks["siem"].settings.port, config.sinks["siem"].settings.format) == (6514, "cef")
    assert config.sinks["worm"].settings.retain == timedelta(days=400)


def test_the_schema_knows_them() -> None:
    validator = Draft202012Validator(json_schema())
    assert list(validator.iter_errors(yaml.safe_load(BASE + TEXT))) == []
    for wrong in ("port: 6514", "format: xml", "format: cef, port: 0"):
        text = BASE + TEXT.replace("format: cef", wrong).replace("host: siem.example, ", "")
        assert list(validator.iter_errors(yaml.safe_load(text))) != []


def test_what_is_wrong_with_them_comes_all_at_once(tmp_path: Path) -> None:
    text = TEXT.replace("[siem]", "[sem]").replace("type: file", "type: files").replace("https://c", "http://c")
    said = told(tmp_path, BASE + text.replace("host: siem.example", "hots: siem.example"))
    for words in ("no sink is called `sem`", "`siem`", "no sink type `files`", "siem.hots", "must begin with https"):
        assert words in str(said), (words, said)


def test_without_them_there_are_none(tmp_path: Path) -> None:
    for top in ("", "audit:\n", "audit: {sinks: {}}\n"):
        text = f"{BASE}{top}credentials: {{web: {{provider: local, destinations: [web]}}}}\n"
        assert load_text(tmp_path, text).sinks == {}
