"""A message of any template shows each of its values in every language and contains no unreplaced placeholder."""

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
    st.sampled_from(
        ["red", "green; 3 mm", "{n}", "a: b", "2026-03-01 06:00 UTC"]
    ),  # names that people give to stations
    st.integers(0, 99_999),
    st.builds(
        Figure, FINITE, st.sampled_from(["g", ".2f", ".0f", ".1%"]), st.sampled_from(["", "mm", "mm/day²", "kPa"])
    ),
    st.builds(Duration, st.floats(0, 1e7), st.sampled_from(["unit", "about", "span"])),
    st.builds(NameList, st.lists(NAME, min_size=1, max_size=4).map(tuple), st.integers(0, 3), st.booleans()),
)
WORDED = st.builds(Term, st.sampled_from(sorted(LEVELS | WORDS)))


def import_all():
    """Import every module of the three packages, so that every template is registered."""
    for package in ("monitor", "forecasting", "detection"):
        for module in pkgutil.walk_packages([str(ROOT / package)], f"{package}."):
            importlib.import_module(module.name)


import_all()
TEMPLATES = sorted(ENGLISH.items())


@st.composite
def messages(draw, depth=1):
    """Draw a message of any template with any values."""
    template_id, english = draw(st.sampled_from(TEMPLATES))
    kinds = [PLAIN, TIMES, WORDED]
    if depth:
        inner = messages(depth=depth - 1)
        kinds += [inner, st.builds(MessageList, st.lists(inner, min_size=1, max_size=3).map(tuple))]
    values = {place: draw(st.one_of(kinds)) for place in PLACE.findall(english)}
    return Template(template_id, english)(**values)


def list_shown(value, language):
    """Return the names and figures that the text must contain, in any order."""
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
def test_rendered_message_contains_every_value_and_no_brace(language, message, zone):
    parts = render(message, language, zone)
    text = "".join(part.text for part in parts)
    for shown in list_shown(message, language):
        assert shown in text, (message.id, text)
    ours = text.replace("{n}", "")  # the name of a station
    assert "{" not in ours, (message.id, text)
    assert all(part.at is None or part.at.tzinfo is not None for part in parts)


@settings(max_examples=25, deadline=None)
@given(message=messages())
def test_message_in_english_and_utc_equals_its_stored_text(message):
    assert "".join(part.text for part in render(message, "en", UNCHANGED)) == message


@settings(max_examples=80, deadline=None)
@given(message=messages())
def test_message_survives_storage_json_and_pickle(message):
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
    """List each call of a template that is a constant of its file or imported by name: place, text and call."""
    templates: dict[tuple[str, str], str] = {}
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
                templates[module, target.id] = ast.literal_eval(value.args[1])
    constants = {name for _, name in templates}
    for path in (p for p, text in rest.items() if constants & {*re.findall(r"\w+", text)}):
        nodes[path] = [n for n in ast.walk(ast.parse(rest[path])) if isinstance(n, ast.ImportFrom | ast.Call)]
    for path, file_nodes in nodes.items():
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        names = {name: text for (m, name), text in templates.items() if m == module}
        for node in file_nodes:
            for a in node.names if isinstance(node, ast.ImportFrom) else ():
                if (node.module, a.name) in templates:
                    names[a.asname or a.name] = templates[node.module, a.name]
        for node in file_nodes:
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in names:
                yield f"{path.relative_to(ROOT)}:{node.lineno}", names[node.func.id], node


def test_template_is_called_with_exactly_its_placeholders():
    wrong = [
        where
        for where, english, call in list_calls()
        if not any(keyword.arg is None for keyword in call.keywords)
        and (call.args or {keyword.arg for keyword in call.keywords} != set(PLACE.findall(english)))
    ]
    assert wrong == []
