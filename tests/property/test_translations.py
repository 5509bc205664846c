"""No translation alters a figure, a name, a time or a level: whatever stands in a sentence comes out of it."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.domain.quantities import QUANTITIES
from monitor.language.catalogue import ENGLISH, LANGUAGES, open_catalogue, use
from monitor.language.sayings import FIGURES, LISTS, PHRASES, keep, match, say, say_level
from monitor.language.sentences import SENTENCES
from monitor.language.vocabulary import LEVELS, MONTHS, PARENTS, WORDS

OTHERS = [code for code in LANGUAGES if code != ENGLISH]
PLACE = re.compile(r"\{(\w+)\}")
FIGURE = st.one_of(
    st.integers(0, 99_999).map(str),
    st.floats(-9999, 9999).map(lambda v: f"{v:.2f}"),
    st.floats(0, 1).map(lambda v: f"{v:.3g}"),
)
NAME = st.from_regex(r"[A-Z][A-Za-z0-9_-]{0,11}", fullmatch=True).filter(lambda n: n.lower() not in LEVELS)
UNIT = st.sampled_from(["mm", "mm/day", "kPa", "m", "degrees", "mm/day²", "%"])
INSTANT = st.datetimes().map(lambda at: f"{at:%Y-%m-%dT%H:%M:%S}Z")
OTHER = st.one_of(NAME, UNIT, INSTANT, FIGURE.map(lambda v: f"{v} mm"))


def fill(draw, template):
    """A sentence out of a template, and what must come out again: texts as they are, level words translated."""
    values, kept, levels = {}, [], []
    for name in PLACE.findall(template):
        kind = name.rstrip("0123456789")
        if kind in FIGURES:
            values[name] = draw(FIGURE)
            kept.append(values[name])
        elif kind in {"level", "known"}:
            values[name] = draw(st.sampled_from(sorted(LEVELS)))
            levels.append(values[name])
        elif kind == "mon":
            values[name] = draw(st.sampled_from(MONTHS))
        elif kind == "parent":
            values[name] = draw(st.sampled_from(sorted(PARENTS)))
        elif kind == "quantity":
            values[name] = draw(st.sampled_from(sorted(QUANTITIES)))
        elif kind == "word":
            values[name] = draw(st.sampled_from(sorted(WORDS - LEVELS - {" and "})))
        elif kind in PHRASES:
            figure, station = draw(FIGURE), draw(NAME)
            values[name] = f"step of {figure} mm at {station}"
            kept += [figure, station]
        else:
            values[name] = draw(NAME) if kind in LISTS else draw(OTHER)
            kept.append(values[name])
    return PLACE.sub(lambda m: values[m[1]], template), kept, levels


@pytest.mark.parametrize("language", OTHERS)
@settings(max_examples=400, deadline=None)
@given(data=st.data())
def test_everything_that_a_sentence_says_comes_out_of_its_translation(language, data):
    template = data.draw(st.sampled_from(SENTENCES))
    sentence, kept, levels = fill(data.draw, template)
    said = say(sentence, language)
    for value in kept:
        assert value in said, (sentence, said)
    for level in levels:
        assert say_level(level, language) in said, (sentence, said)
    # nothing is added either: the figures are those of the sentence
    figures = re.compile(r"(?<![A-Za-z0-9_.])[-+]?\d+(?:\.\d+)?")
    if "{mon}" not in template:  # in Chinese a month is a number
        assert sorted(figures.findall(said)) == sorted(figures.findall(sentence)), (sentence, said)


@pytest.mark.parametrize("language", OTHERS)
def test_every_template_is_recognised_by_its_own_translation(language):
    samples = {
        "n": "12.5",
        "count": "3",
        "level": "orange",
        "known": "orange",
        "word": "creep",
        "parent": "logger",
        "mon": "Nov",
        "quantity": "tilt_x",
    }
    faults = []
    for template in SENTENCES:
        names = PLACE.findall(template)
        values = {n: samples.get(n.rstrip("0123456789"), f"X{k}") for k, n in enumerate(names)}
        sentence = PLACE.sub(lambda m, values=values: values[m[1]], template)
        parts = PLACE.split(template)
        assert match(sentence, tuple(parts[::2]), tuple(parts[1::2])) is not None, template
        said = say(sentence, language)
        literal = [t for t in PLACE.split(open_catalogue(language).gettext(template))[::2] if t.strip(" .,;:()[]")]
        if not all(part.strip() in said for part in literal):
            faults.append((template, said))
    assert faults == []


@settings(max_examples=300, deadline=None)
@given(text=st.text(max_size=300), language=st.sampled_from(OTHERS))
def test_any_text_comes_out_as_something(text, language):
    said = say(text, language)
    assert isinstance(said, str)
    assert bool(said.strip()) == bool(text.strip()) or said == text


@settings(max_examples=100, deadline=None)
@given(parts=st.lists(st.sampled_from(["; ", ": ", ", ", " in ", " over ", " and ", "5", "mm", "x "]), max_size=400))
def test_no_text_takes_long(parts):
    say("velocity 1 ± 1 mm in " + "".join(parts), "it")  # linear: no part of it is looked at again and again


@pytest.mark.parametrize("language", OTHERS)
@pytest.mark.parametrize("head", ["over: ", "EXERCISE: ", "if the acceleration goes on: "])
def test_a_text_of_many_layers_is_translated_where_it_begins(language, head):
    said = say(head * 400 + "x", language)
    assert said.endswith(head * 300 + "x")
    assert not said.startswith(head)


def test_english_is_never_touched():
    for template in SENTENCES:
        assert say(template, ENGLISH) is template


@pytest.mark.parametrize("language", OTHERS)
def test_a_name_that_is_also_a_word_is_never_translated(language):
    """Stations called like a level, a quantity or a witness, in each case; sites whose names look like a message."""
    names = {case(word.replace(" ", "_")) for word in LEVELS | WORDS for case in (str, str.capitalize, str.upper)}
    for name in sorted(name for name in names if re.fullmatch(r"[A-Za-z0-9_-]+", name)):
        kept = keep([name, "G1"], ["North bench"])
        with use(language, kept):
            for sentence in (
                f"orange: {name}: velocity 6.3 ± 1.2 mm/day in 6h, over 3 mm/day in 3 of its last 4 readings, 2 needed",
                f"{name}: step of 12.0 mm at {name}: nobody said within the clock that it was an instrument",
                f"red stands: {name}: no usable data; rule wet, {name}: rain 61.5 mm in 24 h is no rainfall",
            ):
                said = say(sentence)
                count = len(re.findall(rf"(?<![\w-]){name}(?![\w-])", sentence))
                assert len(re.findall(rf"(?<![A-Za-z0-9_-]){name}(?![A-Za-z0-9_-])", said)) == count, (sentence, said)
                assert said != sentence
    for title in ("Pit] RED: all quiet", "EXERCISE", "Red", "[A] [B", "over; 12 mm: G1", "A]: health urgent"):
        with use(language, keep([], [title])):
            said = say(f"[{title}] ORANGE: orange: G1: no usable data")
        assert said.startswith(f"[{title}] {say_level('ORANGE', language)}: {say_level('orange', language)}: G1: "), (
            said
        )
    assert keep(["G1", "north-2"], ["North bench, pit 4", "Passo Alto (2)"]) == (), "usual names cost nothing"
