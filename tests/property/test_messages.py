"""A message of any id says the same in every language: each value comes out, no brace is left, nothing is raised."""

import ast
import importlib
import pickle
import pkgutil
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.canonical import canonical_json
from monitor.text.catalogue import LANGUAGES
from monitor.text.local_time import UNCHANGED
from monitor.text.message import (
    ENGLISH,
    PLACE,
    Duration,
    Figure,
    Message,
    MessageList,
    NameList,
    Template,
    Term,
    Timestamp,
    format_for_reading,
    messages_to_plain,
    plain_to_messages,
    read_message,
    values_to_json,
)
from monitor.text.rendering import render, translate_term
from monitor.text.vocabulary import LEVELS, WORDS

ROOT = Path(__file__).parents[2]
ZONES = ["UTC", "Europe/Zurich", "Asia/Kathmandu", "America/Lima"]
NAME = st.from_regex(r"[A-Z][A-Za-z0-9_-]{0,11}", fullmatch=True)
FINITE = st.floats(-1e6, 1e6)
INSTANT = st.datetimes(datetime(1990, 1, 1), datetime(2060, 1, 1), timezones=st.just(UTC))
TIMES = st.builds(Timestamp.of, INSTANT, st.sampled_from(["exact", "second", "minute", "day"]))
PLAIN = st.one_of(
    NAME,
    st.sampled_from(["red", "green; 3 mm", "{n}", "a: b", "2026-03-01 06:00 UTC"]),  # people name things so
    st.integers(0, 99_999),
    st.builds(
        Figure, FINITE, st.sampled_from(["g", ".2f", ".0f", ".1%"]), st.sampled_from(["", "mm", "mm/day²", "kPa"])
    ),
    st.builds(Duration, st.floats(0, 1e7), st.sampled_from(["unit", "about", "span"])),
    st.builds(NameList, st.lists(NAME, min_size=1, max_size=4).map(tuple), st.integers(0, 3), st.booleans()),
)
WORDED = st.builds(Term, st.sampled_from(sorted(LEVELS | WORDS)))


def import_all():
    """Every module of the three packages, so that every template is known."""
    for package in ("monitor", "forecasting", "detection"):
        for module in pkgutil.walk_packages([str(ROOT / package)], f"{package}."):
            importlib.import_module(module.name)


import_all()
TEMPLATES = sorted(ENGLISH.items())


@st.composite
def messages(draw, depth=1):
    """A message of any template with drawn values."""
    template_id, english = draw(st.sampled_from(TEMPLATES))
    kinds = [PLAIN, TIMES, WORDED]
    if depth:
        inner = messages(depth=depth - 1)
        kinds += [inner, st.builds(MessageList, st.lists(inner, min_size=1, max_size=3).map(tuple))]
    values = {place: draw(st.one_of(kinds)) for place in PLACE.findall(english)}
    return Template(template_id, english)(**values)


def list_shown(value, language):
    """What must stand in the text, of names and figures, in the order in which nobody minds."""
    if isinstance(value, Message):
        return [shown for one in value.values.values() for shown in list_shown(one, language)]
    if isinstance(value, MessageList):
        return [shown for one in value.items for shown in list_shown(one, language)]
    if isinstance(value, NameList):
        return list(value.names)
    if isinstance(value, Term):
        return [translate_term(value.english(), language)]
    if isinstance(value, Duration) and value.form == "unit":
        return [format_for_reading(value.seconds)]
    if isinstance(value, Timestamp):
        return [] if value.form != "day" else [value.english()]
    return [value if isinstance(value, str) else value.english() if hasattr(value, "english") else f"{value:g}"]


@pytest.mark.parametrize("language", LANGUAGES)
@settings(max_examples=25, deadline=None)
@given(message=messages(), zone=st.sampled_from(ZONES))
def test_every_value_comes_out_and_no_brace_is_left(language, message, zone):
    parts = render(message, language, zone)
    text = "".join(part.text for part in parts)
    for shown in list_shown(message, language):
        assert shown in text, (message.id, text)
    ours = text.replace("{n}", "")  # somebody called his station so
    assert "{" not in ours, (message.id, text)
    assert all(part.at is None or part.at.tzinfo is not None for part in parts)


@settings(max_examples=25, deadline=None)
@given(message=messages())
def test_in_english_and_utc_a_message_reads_as_it_is_stored(message):
    assert "".join(part.text for part in render(message, "en", UNCHANGED)) == message


@settings(max_examples=80, deadline=None)
@given(message=messages())
def test_a_message_comes_back_from_a_row_from_json_and_from_another_process(message):
    for back in (
        pickle.loads(pickle.dumps(message)),
        read_message(str(message), message.id, values_to_json(message.values)),
        plain_to_messages(messages_to_plain({"reason": message}))["reason"],
        plain_to_messages(messages_to_plain([message]))[0],
    ):
        assert (back, back.id, dict(back.values)) == (message, message.id, dict(message.values))
    assert canonical_json({"reason": message}) == canonical_json(
        plain_to_messages(messages_to_plain({"reason": message}))
    )


def test_ids_are_dotted_names():
    assert [i for i, _ in TEMPLATES if not re.fullmatch(r"[a-z0-9_]+(\.[a-z0-9_]+)+", i)] == []


def list_calls():
    """Each call of a template that is a constant of its file, or is imported by name: where, the text, the call."""
    known: dict[tuple[str, str], str] = {}
    nodes, rest = {}, {}
    for path in [p for package in ("monitor", "forecasting", "detection") for p in (ROOT / package).rglob("*.py")]:
        text = path.read_text(encoding="utf-8")
        if "Template(" not in text:
            rest[path] = text
            continue
        tree = ast.parse(text)
        nodes[path] = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom | ast.Call)]
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for node in tree.body:
            value, target = (
                getattr(node, "value", None),
                getattr(node, "target", None) or next(iter(getattr(node, "targets", [])), None),
            )
            is_template = (
                isinstance(value, ast.Call) and isinstance(value.func, ast.Name) and value.func.id == "Template"
            )
            if is_template and isinstance(target, ast.Name):
                known[module, target.id] = ast.literal_eval(value.args[1])
    constants = {name for _, name in known}
    for path in (p for p, text in rest.items() if constants & {*re.findall(r"\w+", text)}):
        nodes[path] = [n for n in ast.walk(ast.parse(rest[path])) if isinstance(n, ast.ImportFrom | ast.Call)]
    for path, found in nodes.items():
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        names = {name: text for (m, name), text in known.items() if m == module}
        for node in found:
            for a in node.names if isinstance(node, ast.ImportFrom) else ():
                if (node.module, a.name) in known:
                    names[a.asname or a.name] = known[node.module, a.name]
        for node in found:
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in names:
                yield f"{path.relative_to(ROOT)}:{node.lineno}", names[node.func.id], node


def test_a_template_is_called_with_its_places_and_no_others():
    wrong = [
        where
        for where, english, call in list_calls()
        if not any(keyword.arg is None for keyword in call.keywords)
        and (call.args or {keyword.arg for keyword in call.keywords} != set(PLACE.findall(english)))
    ]
    assert wrong == []
