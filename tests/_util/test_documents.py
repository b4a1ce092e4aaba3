"""TOML and JSON of users' files."""

import json
import time
import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatecheck._util import documents
from gatecheck._util.documents import MAX_DOTS, parse_json, parse_toml, read_text, read_toml
from gatecheck.errors import InputError

LINES = st.lists(
    st.sampled_from(
        [
            "a.b.c = 1",
            "[a.b]",
            'x = """\n....................................."""',
            "y = '....................................'",
            "# ......................................",
            'z = "\\"............................................"',
            "w = [1.5, 2.5, 3.5]",
            'k."..........................................".n = 1',
            "v = '''\n# ....................................\n'''",
        ]
    ),
    max_size=6,
    unique=True,
)


@given(LINES)
def test_dots_in_texts_are_none_in_keys(lines):
    text = "\n".join(lines)
    try:
        expected = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        with pytest.raises(InputError, match="is not TOML"):
            parse_toml(text)
    else:
        assert parse_toml(text) == expected


@pytest.mark.parametrize("dots", [MAX_DOTS, MAX_DOTS + 1])
@pytest.mark.parametrize("form", ["{} = 1", "[{}]", "[[{}]]", "x = {{{} = 1}}", "x=1\n  {}=1"])
def test_a_key_has_so_many_dots(dots, form):
    text = form.format(" .".join((["a", '"b"', "'c'"] * 20)[: dots + 1]))
    if dots > MAX_DOTS:
        with pytest.raises(InputError, match="is nested too deeply: a key has more than 32 dots"):
            parse_toml(text)
    else:
        parse_toml(text)


@pytest.mark.parametrize(
    "text",
    [
        "a" * 200_000,
        "a " * 100_000 + "= 1",
        '"' * 200_000,
        '"""' + '\\"""' * 50_000,
        '"""' + '\\"""' * 50_000 + "\\",
        "'''\"" * 50_000,
        '"\\' * 100_000,
        "a.\n" * 60_000,
        "# .'\n" * 40_000,
    ],
)
def test_the_search_for_dots_is_linear(text):
    start = time.thread_time()
    with pytest.raises(InputError):
        parse_toml(text + "\n=")
    assert time.thread_time() - start < 2


@pytest.mark.parametrize("number", ["0x" + "f" * 5000, "0b" + "1" * 64, str(2**63), f"-{2**63}"])
@pytest.mark.parametrize("form", ["a = {}", "a = [[1, {}]]", "[b]\na = {{a = {}}}"])
def test_a_number_of_more_than_64_bits_is_refused(number, form):
    with pytest.raises(
        InputError, match=r"has (b\.a\.)?a, a number that should be below"
    ) as raised:
        parse_toml(form.format(number))
    assert len(str(raised.value)) < 100


def test_the_largest_number_is_read():
    assert parse_toml(f"a = {2**63 - 1}\nb = true") == {"a": 2**63 - 1, "b": True}


def test_files_are_bounded_and_in_utf_8(tmp_path, monkeypatch):
    path = tmp_path / "a.toml"
    path.write_bytes(b"a = 1\r\nb = 'x'\r\n")
    assert read_toml(path) == {"a": 1, "b": "x"}
    assert read_text(path) == "a = 1\nb = 'x'\n"
    path.write_bytes(b"\xff")
    with pytest.raises(InputError, match="is not UTF-8 text"):
        read_toml(path)
    monkeypatch.setattr(documents, "MAX_TOML_BYTES", 5)
    path.write_text("a = 12")
    with pytest.raises(OSError, match="it has 6 bytes, but gatecheck reads 5"):
        read_toml(path)
    with pytest.raises(InputError, match="has 6 characters, but gatecheck reads 5"):
        parse_toml("a = 12")


@pytest.mark.parametrize("text", ["[" * 5000, "a = " + "[" * 5000, "a = " + "{a=" * 5000])
def test_a_deep_text_is_no_traceback(text):
    with pytest.raises(InputError, match=r"nested too deeply|is not TOML"):
        parse_toml(text)


@given(st.recursive(st.none() | st.text(), lambda v: st.lists(v) | st.dictionaries(st.text(), v)))
def test_json_is_read(value):
    assert (
        parse_json(json.dumps(value), "it") == parse_json(json.dumps(value).encode(), "it") == value
    )


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"{", "is not JSON"),
        (b"\xff", "is not JSON: 'utf-8' codec"),
        (b"9" * 5000, "is not JSON: Exceeds the limit"),
        (b"[" * 10**5, "is nested too deeply"),
        (b'{"a":' * 10**5, "is nested too deeply"),
        (b"0" * 101, "has 101 bytes, but gatecheck reads 100 at most"),
        (b"[" + b"0," * 40 + b"0]", "has some 42 values, but gatecheck reads 40 at most"),
        (b"[" + b"{}," * 21 + b"0]", "has some 44 values"),
    ],
)
def test_json_is_bounded(monkeypatch, data, message):
    most = 2**20
    if "100 at most" in message:
        most = 100
    if "some" in message:
        monkeypatch.setattr(documents, "MAX_VALUES", 40)
    with pytest.raises(InputError, match=f"^a {message}"):
        parse_json(data, "a", most)
