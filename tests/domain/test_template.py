"""Templates fill in what they name, and read it back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rotator.domain.secret import Material, Secret
from rotator.domain.template import Template

FACTS = {"key_id": "key_1", "version": "3", "fingerprint": "ab12"}


def render(text: str, **material: str) -> str:
    return Template(text).render(Material.of(**material), FACTS).reveal()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{secret}", "a/b c"),
        ("Bearer {secret}", "Bearer a/b c"),
        ("https://u:{secret:url}@host", "https://u:a%2Fb%20c@host"),
        ("{secret:base64}", "YS9iIGM="),
        ("{version}:{key_id}:{secret}", "3:key_1:a/b c"),
        ('{"key": "{secret}"}', '{"key": "a/b c"}'),
    ],
)
def test_a_template_is_plain_substitution(text: str, expected: str) -> None:
    assert render(text, secret="a/b c") == expected


@given(st.text(min_size=1), st.sampled_from(["{secret}", "x={secret};", "{secret:url}", "{secret:base64}"]))
def test_what_was_rendered_is_read_back(value: str, text: str) -> None:
    try:
        value.encode()
    except UnicodeEncodeError:
        return
    template = Template(text)
    rendered = template.render(Material.of(secret=value), FACTS)
    assert template.extract(rendered) == {"secret": Secret(value)}


def test_a_companion_is_the_same_text_filled_in_with_the_key_before() -> None:
    template = Template('{"id": "{key_id}", "key": "{secret:url}"}')
    before = template.before()
    assert before == Template('{"id": "{previous.key_id}", "key": "{previous.secret:url}"}')
    assert (template.companion, before.companion) == (False, True)
    material = Material.of(secret="a/b c")
    assert before.render(material, FACTS) == template.render(material, FACTS)
    found = before.extract(before.render(material, FACTS))
    assert found.keys() == {"previous.key_id", "previous.secret"}, "never taken for the key that the place serves"


def test_a_text_that_does_not_fit_gives_nothing() -> None:
    assert Template("Bearer {secret}").extract(Secret("Basic x")) == {}
    assert Template("{secret:base64}").extract(Secret("not base64!")) == {}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{secrt}", "unknown placeholder {secrt}"),
        ("{previous.secret}", "unknown placeholder {previous.secret}"),
        ("{secret:hex}", "unknown format :hex"),
        ("no placeholder", "would never change"),
        ("{key_id}", "would never change"),
    ],
)
def test_what_is_wrong_with_a_template_is_said(text: str, problem: str) -> None:
    assert problem in (Template(text).problem(("secret",)) or "")


def test_a_good_template_has_no_problem() -> None:
    assert Template("{access_key_id}").problem(("access_key_id", "secret_access_key")) is None
