"""Env files: what we write reads the same everywhere, and what others wrote stays."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping
from io import StringIO

import pytest
from dotenv import dotenv_values
from hypothesis import given, settings
from hypothesis import strategies as st

from rotator.access import dotenv
from rotator.domain.errors import Refused

AGREED = {
    "plain": "sk-proj-aZ0_9.:/+=@,%-x",
    "nothing": "",
    "spaces": "  two  words  ",
    "a tab": "a\tb",
    "a hash": "#a #b",
    "double quotes": '"say "so""',
    "dollars": "pa$$word$HOME$",
    "a command": "$(id)`id`",
    "tildes": "~root:~:~/x",
    "shell signs": "a;b&&c|d<e>f(g)*?[h]!{i,j}",
    "a leading dash": "-n",
    "umlauts": "schlüssel 🔑\N{ZERO WIDTH JOINER}\N{NO-BREAK SPACE}",
    "percent signs": "50%25%s",
    "JSON": '{"a": ["b", 1]}',
    "an equals sign at both ends": "=a=",
    "four kilobytes": "x y" * 1366,
}
REFUSED = {
    "a single quote": "it's",
    "a backslash": "a\\b",
    "an expansion": "a${HOME}b",
    "an expansion that is not closed": "${",
    "a line break": "a\nb",
    "a carriage return": "a\rb",
    "a NUL": "a\0b",
    "an escape character": "a\x1bb",
    "a delete character": "a\x7fb",
    "a next-line character": "a\x85b",
    "a line separator": "a\u2028b",
    "half a surrogate pair": "a\ud800b",
}


def shell(text: str, name: str) -> str:
    """What the POSIX shell has after `. file`."""
    script = f'. /dev/stdin; printf %s "${name}"'
    done = subprocess.run(
        ["sh", "-c", script], input=text.encode(), capture_output=True, check=True, env={"HOME": "/h"}
    )
    assert done.stderr == b""
    return done.stdout.decode()


def python_dotenv(text: str, name: str) -> str | None:
    return dotenv_values(stream=StringIO(text)).get(name)


def systemd(text: str, name: str) -> str | None:
    """EnvironmentFile= by the rules of systemd's parser (src/basic/env-file.c), for values in one line."""
    found = None
    for line in text.split("\n"):
        key, equals, raw = line.partition("=")
        if not equals or line.lstrip()[:1] in ("#", ";") or key.strip() != name:
            continue
        raw, value = raw.strip(" \t\r"), ""
        while raw:
            if raw[0] in "'\"":
                inner, _, raw = raw[1:].partition(raw[0])
                assert "\\" not in inner
                value, raw = value + inner, raw.lstrip(" \t")
            else:
                assert "\\" not in raw
                value, raw = value + raw, ""
        found = value
    return found


def compose(text: str, name: str) -> str | None:
    """Compose by the rules of its parser (compose-go/dotenv/parser.go), for values in one line; HOME is /h."""
    found = None
    for line in text.split("\n"):
        key, equals, raw = line.strip().removeprefix("export ").partition("=")
        if not equals or key != name:
            continue
        if raw[:1] == "'":
            assert "\\" not in raw
            found = raw[1:].partition("'")[0]
        else:
            bare = raw.partition(" #")[0].rstrip()
            found = re.sub(r"\$\{?(\w+)\}?", lambda match: {"HOME": "/h"}.get(match[1], ""), bare)
    return found


def assert_all_read(text: str, name: str, value: str) -> None:
    assert dotenv.read(text)[name] == value
    for reader in (shell, python_dotenv, systemd, compose):
        assert reader(text, name) == value, reader.__name__


@pytest.mark.parametrize("kind", AGREED)
@pytest.mark.parametrize("before", ["", "KEY=old\n", "export KEY='old' # why\nLAST=1"], ids=["new", "bare", "export"])
def test_all_readers_read_what_we_write(kind: str, before: str) -> None:
    text = dotenv.change(before, {"KEY": AGREED[kind]})
    if "export" in before:  # systemd knows neither `export` nor comments behind a value
        assert dotenv.read(text) == {"KEY": AGREED[kind], "LAST": "1"}
        assert shell(text, "KEY") == python_dotenv(text, "KEY") == AGREED[kind]
    else:
        assert_all_read(text, "KEY", AGREED[kind])


@pytest.mark.parametrize("kind", REFUSED)
def test_what_readers_do_not_agree_on_is_refused_and_not_repeated(kind: str) -> None:
    with pytest.raises(Refused) as told:
        dotenv.change("KEY=old\n", {"KEY": f"cAnArY{REFUSED[kind]}"})
    assert told.value.reason == "unquotable"
    assert "KEY" in told.value.message
    assert "cAnArY" not in repr(vars(told.value))


@settings(max_examples=150, deadline=None)
@given(st.text(alphabet=st.one_of(st.sampled_from("aA0 '\"\\$#`~{}=;&|!*?%^,:\t\n\r"), st.characters()), max_size=12))
def test_whatever_is_not_refused_reads_the_same_everywhere(value: str) -> None:
    try:
        text = dotenv.change("OTHER=1\nKEY=old\nLAST='2'\n", {"KEY": value})
    except Refused:
        return
    assert_all_read(text, "KEY", value)
    assert_all_read(text, "OTHER", "1")
    assert_all_read(text, "LAST", "2")


CHANGED = {
    "an empty file": ("", "KEY=new\n"),
    "at the end": ("A=1\n", "A=1\nKEY=new\n"),
    "after a line without an end": ("A=1", "A=1\nKEY=new\n"),
    "after Windows lines": ("A=1\r\nB=2\r\n", "A=1\r\nB=2\r\nKEY=new\r\n"),
    "after a Windows line without an end": ("A=1\r\nB=2", "A=1\r\nB=2\r\nKEY=new\r\n"),
    "in its line": ("A=1\nKEY=old\nB=2\n", "A=1\nKEY=new\nB=2\n"),
    "in its Windows line": ("A=1\r\nKEY=old\r\nB=2", "A=1\r\nKEY=new\r\nB=2"),
    "behind export and blanks": ("  export \t KEY=old\n", "  export \t KEY=new\n"),
    "blanks around the equals sign go": ("KEY = 'old'\n", "KEY=new\n"),
    "before a comment": ("KEY=old   # why\n", "KEY=new   # why\n"),
    "an empty value before a comment": ("KEY= # why\n", "KEY=new # why\n"),
    "a hash within the value": ("KEY=o#ld\n", "KEY=new\n"),
    "single quotes": ("KEY='o l#d' # why\n", "KEY=new # why\n"),
    "double quotes": ('KEY="o l\\"d"\n', "KEY=new\n"),
    "quotes over lines": ('A=1\nKEY="a\nKEY=b\n"\nB=2\n', "A=1\nKEY=new\nB=2\n"),
    "within the quotes of another": ("PEM='\nKEY=inside\n'\n", "PEM='\nKEY=inside\n'\nKEY=new\n"),
    "a comment that looks like it": ("# KEY=old\n#KEY=old\n", "# KEY=old\n#KEY=old\nKEY=new\n"),
    "names that look like it": ("MY_KEY=1\nKEY_2=2\n", "MY_KEY=1\nKEY_2=2\nKEY=new\n"),
    "a name without a value": ("KEY\n", "KEY\nKEY=new\n"),
    "after a byte order mark": ("\ufeffKEY=old\n", "\ufeffKEY=new\n"),
    "bytes that are no text": ("A=\udcff\udc80\nKEY=old\n", "A=\udcff\udc80\nKEY=new\n"),
    "what is no assignment": ("if true; then\n\tX=1\nfi\n???\n", "if true; then\n\tX=1\nfi\n???\nKEY=new\n"),
    "a value that is shell": ('P="$HOME/x":/usr\nQ=$(id -u)\n', 'P="$HOME/x":/usr\nQ=$(id -u)\nKEY=new\n'),
    "blank lines": ("\n\n  \nKEY=old\n\n", "\n\n  \nKEY=new\n\n"),
}


@pytest.mark.parametrize("where", CHANGED)
def test_all_but_our_value_is_kept(where: str) -> None:
    before, after = CHANGED[where]
    assert dotenv.change(before, {"KEY": "new"}) == after


AMBIGUOUS = {
    "two lines": ("KEY=1\nA=2\nKEY=3\n", "duplicate_field", "lines 1 and 3"),
    "a quote that is never closed": ("A='1\nKEY=old\n", "unparsable", "line 1"),
    "our quote that is never closed": ('KEY="1\nA=2\n', "unparsable", "line 1"),
    "a command behind it": ("KEY=old; export KEY\n", "unparsable", "line 1"),
    "a value in pieces": ("A=1\nKEY='it'\\''s'\n", "unparsable", "line 2"),
    "more right behind its quotes": ("A=1\nKEY='old'#x\n", "unparsable", "line 2"),
    "words": ("KEY=two words\n", "unparsable", "line 1"),
    "a line that goes on": ("A=1\\\nKEY=old\n", "unparsable", "line 2"),
    "a last line that goes on": ("A=1\\\n", "unparsable", "line 2"),
    "a last line that goes on without an end": ("A=1\\", "unparsable", "line 2"),
}


@pytest.mark.parametrize("what", AMBIGUOUS)
def test_a_file_that_readers_take_differently_is_not_touched(what: str) -> None:
    text, reason, where = AMBIGUOUS[what]
    with pytest.raises(Refused) as told:
        dotenv.change(text, {"KEY": "new"})
    assert told.value.reason == reason
    assert where in told.value.message
    assert told.value.remedy


def test_a_change_that_would_change_what_others_read_is_refused() -> None:
    text = ";='\rAx\\'\\'\t"  # the quotes that we append would close theirs
    with pytest.raises(Refused) as told:
        dotenv.change(text, {"KEY": "a b"})
    assert "change others" in told.value.message


@pytest.mark.parametrize("name", ["", "2KEY", "MY-KEY", "MY KEY", "KEY=", "KEY\n", "KÄY", "a.b"])
def test_a_name_that_no_shell_takes_is_refused(name: str) -> None:
    with pytest.raises(Refused) as told:
        dotenv.change("", {name: "new"})
    assert told.value.reason == "bad_name"


READ = {
    "bare": ("A=b c # d\n", {"A": "b c"}),
    "the last one holds": ("A=1\nA=2\n", {"A": "2"}),
    "double quotes": (r'A="b\"c\\d\$e"' + "\n", {"A": 'b"c\\d$e'}),
    "single quotes by python-dotenv": (r"A='it\'s'" + "\n", {"A": "it's"}),
    "single quotes by the shell": ("A='b\\'\nB=2\n", {"A": "b\\", "B": "2"}),
    "lines": ("A='b\nc'\n", {"A": "b\nc"}),
    "after a quote that is never closed": ("A='b\nB=2\n", {"B": "2"}),
    "no assignments": ("A\n# B=1\n=2\n", {}),
}


@pytest.mark.parametrize("what", READ)
def test_what_others_wrote_is_read(what: str) -> None:
    text, fields = READ[what]
    assert dotenv.read(text) == fields


@given(st.text(alphabet="KEYA=x'\"\\# \t\n\r;", max_size=40))
def test_a_change_is_read_back_and_hurts_nothing_else(text: str) -> None:
    others: Mapping[str, str] = {name: value for name, value in dotenv.read(text).items() if name != "KEY"}
    try:
        changed = dotenv.change(text, {"KEY": "new"})
    except Refused:
        return
    assert dotenv.read(changed) == {**others, "KEY": "new"}
    assert dotenv.change(changed, {"KEY": "new"}) == changed
