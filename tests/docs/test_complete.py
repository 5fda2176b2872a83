"""What the code has, the documentation names, and the other way round."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from rotator.config.adapters import CONSUMER_TYPES, DESTINATION_TYPES, PROVIDER_TYPES, SINK_TYPES
from rotator.domain.events import Outcome, Subject
from rotator.domain.model import Cause, DeliveryState, RetirementReason, VersionState
from tests.docs import source
from tests.docs.generate import DOCS, pages

ROOT = DOCS.parent
ALL_PAGES = [*pages(), *(ROOT / name for name in ("README.md", "CHANGELOG.md", "deploy/README.md", "bench/README.md"))]


def text_of(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


def first_column(name: str) -> list[str]:
    """The names in the first column of a page's tables."""
    return re.findall(r"^\| `([^`]+)` \|", text_of(name), re.MULTILINE)


def test_every_reason_of_the_code_is_documented_and_no_other() -> None:
    documented = first_column("reasons.md")
    assert sorted(source.reasons() - set(documented)) == []
    assert sorted(set(documented) - source.reasons()) == []
    assert len(documented) == len(set(documented))


def test_what_stands_for_a_reason_in_events_is_documented() -> None:
    text = text_of("reasons.md")
    for word in (*Cause, *RetirementReason):
        assert f"`{word}`" in text


def test_every_event_of_the_code_is_documented_and_no_other() -> None:
    written = {f"{subject}.{outcome}" for subject, outcomes in source.events().items() for outcome in outcomes}
    documented = [name for name in first_column("events.md") if "." in name]
    assert sorted(written - set(documented)) == []
    assert sorted(set(documented) - written) == []
    assert len(documented) == len(set(documented))


def test_every_word_that_events_are_made_of_is_documented() -> None:
    text = text_of("events.md")
    for subject in Subject:
        assert f"`{subject}" in text
    for outcome in Outcome:
        assert f"| `{outcome}` |" in text


def test_every_state_is_documented() -> None:
    text = text_of("concepts.md")
    for state in (*VersionState, *DeliveryState):
        assert state in text


@pytest.mark.parametrize(
    "name",
    [*PROVIDER_TYPES.built_in, *DESTINATION_TYPES.built_in, *CONSUMER_TYPES.built_in, *SINK_TYPES.built_in],
)
def test_every_type_has_its_section(name: str) -> None:
    assert f"### `{name}`" in text_of("configuration.md")


def test_the_readme_names_every_provider_and_destination() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8").lower()
    for name in (*PROVIDER_TYPES.built_in, *DESTINATION_TYPES.built_in):
        words = name.removesuffix("-kv").replace("-", " ")
        assert words in readme


@pytest.mark.parametrize("page", ALL_PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)#]+)", text):
        if "://" not in target:
            assert (page.parent / target).exists(), target


def test_every_command_is_named_where_one_looks_for_it() -> None:
    from rotator.cli import COMMANDS

    text = "".join(page.read_text(encoding="utf-8") for page in ALL_PAGES)
    for command in COMMANDS:
        assert command == "rotate" or re.search(rf"rotator {command}\b|`{command}`", text), command
