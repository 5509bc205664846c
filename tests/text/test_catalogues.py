"""The catalogues are complete: every text of page, scripts, sentences and words, in each language, with its places."""

import re
import time
from datetime import UTC, datetime
from functools import cache
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jinja2 import nodes

from monitor.decision.subjects import (
    CUT,
    LONGEST,
    SUBJECT_LENGTH,
    cut_message,
    cut_words,
    find_first_fact,
    make_subject,
    mark_exercise,
    shorten,
    translate_subject,
)
from monitor.delivery.message import ACKNOWLEDGE, LINK
from monitor.features.reports.render import LAST_DECISION, TITLES
from monitor.features.telephony.gateway import PRESS
from monitor.features.telephony.queries.replies import ANSWERS
from monitor.features.telephony.telephone import HOW, ON_PAGE
from monitor.features.telephony.telephone import OTHERS as OTHER_ALERTS
from monitor.text import catalogue as catalogues
from monitor.text.catalogue import ENGLISH, LANGUAGES, open_catalogue, use_language
from monitor.text.message import LABELLED_TEXT, Figure, MessageList, Template, Term, join
from monitor.text.rendering import translate, translate_level
from monitor.text.scripts import FOLDER, find_script_texts
from monitor.text.vocabulary import LEVELS, MONTHS, QUANTITIES, WORDS
from monitor.web.parts.templating import ENVIRONMENT
from tests.data.criteria import CRITERIA
from tests.tables import tabulated

OTHERS = [code for code in LANGUAGES if code != ENGLISH]
MONITOR = Path(catalogues.__file__).parents[1]
# of the page and of documents, those of features too
TEMPLATES = {str(path.relative_to(MONITOR)): path for path in sorted(MONITOR.rglob("templates/**/*.html"))}
PLACES = re.compile(r"%\((\w+)\)s|\{(\w+)\}|%%|<[^>]*>")
LETTERS = re.compile(r"[A-Za-z]{2}")
# what a template shows that is the same everywhere: names, units, formulas
PLAIN = {'"Sign by two".', *"Slopeward UTC API SHA-256 mm km CSV Parquet GeoPackage GeoJSON iCalendar HTML PDF".split()}
# texts of expressions that no person reads: classes, states that are compared, addresses
CODE = re.compile(r"[a-z0-9_:/ #.\-]*|/.*")


@cache
def page_texts() -> frozenset[str | tuple[str, str]]:
    found = set()
    for path in TEMPLATES.values():
        tree = ENVIRONMENT.parse(path.read_text(encoding="utf-8"))
        for call in tree.find_all(nodes.Call):
            if isinstance(call.node, nodes.Name) and call.node.name in {"_", "gettext", "ngettext"}:
                texts = [a.value for a in call.args if isinstance(a, nodes.Const)]
                found.add(tuple(texts[:2]) if call.node.name == "ngettext" else texts[0])
    return frozenset(found)


def every_text() -> set[str | tuple[str, str]]:
    shown = {*page_texts(), *find_script_texts(), *WORDS, *LEVELS, *MONTHS, "never", "Landslide hazard"}
    return shown | {
        *TITLES.values(),
        LAST_DECISION,
        LINK,
        ACKNOWLEDGE,
        HOW,
        ON_PAGE,
        OTHER_ALERTS,
        PRESS,
        *ANSWERS.values(),
    }


@pytest.mark.parametrize("language", OTHERS)
def test_every_translation_keeps_the_places_of_its_text(language):
    entries = open_catalogue(language).entries()
    faults = []
    for text in every_text():
        if not isinstance(text, tuple):
            forms = {text: text}
        elif language == "zh":
            # Chinese has no plural: its only form translates the English plural.
            forms = {(text[0], 0): text[1]}
        else:
            forms = {(text[0], 0): text[0], (text[0], 1): text[1]}
        for key, english in forms.items():
            said = entries.get(key)
            if not said:
                continue
            if sorted(m[0] for m in PLACES.finditer(english)) != sorted(m[0] for m in PLACES.finditer(said)):
                faults.append(f"other places: {key} -> {said}")
            if english != english.strip() and said.strip() == said and text != " and ":
                faults.append(f"blanks: {key}")
    assert faults == []


@pytest.mark.parametrize("language", OTHERS)
def test_levels_can_be_told_apart(language):
    said = [open_catalogue(language).gettext(level) for level in sorted(LEVELS)]
    assert len(set(said)) == len(said)


def test_babel_reads_the_same():
    pofile = pytest.importorskip("babel.messages.pofile")
    for language in OTHERS:
        file = Path(catalogues.__file__).parent / "catalogues" / f"{language}.po"
        with file.open("rb") as opened:
            read = [one for one in pofile.read_po(opened) if one.id and one.string and all(one.string)]
        templates = open_catalogue(language).templates
        assert {m.context: m.string for m in read if m.context} == {k: v for k, (_, v) in templates.items() if v}
        read = [message for message in read if not message.context]
        ours = open_catalogue(language).entries()
        for message in read:
            if isinstance(message.id, tuple):
                assert [ours[message.id[0], n] for n in range(len(message.string))] == [*message.string]
            else:
                assert ours[message.id] == message.string
        assert len(ours) == sum(len(m.string) if isinstance(m.id, tuple) else 1 for m in read)


class Shown(HTMLParser):
    """Literal text of a template's HTML, and of the attributes that people read."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.texts: list[str] = []
        self._code = 0
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self._code += tag in {"code", "script", "style"}
        self.texts += [v or "" for n, v in attrs if n in {"title", "aria-label", "placeholder"}]

    def handle_endtag(self, tag):
        self._code -= tag in {"code", "script", "style"}

    def handle_data(self, data):
        if not self._code:
            self.texts.append(data)


@tabulated("name", TEMPLATES)
def test_no_template_shows_a_text_beside_the_catalogue(name):
    source = TEMPLATES[name].read_text(encoding="utf-8")
    source = re.sub(r"\{% block live %\}.*?\{%\s*endblock\s*%\}", "", source, flags=re.DOTALL)  # attributes of <main>
    literal = re.sub(r"\{[{%#].*?[}%#]\}", " ", source, flags=re.DOTALL)
    shown = [t.strip() for t in Shown(literal).texts if LETTERS.search(t)]
    # numbers, units, an example of a name that is typed
    bare = [t for t in shown if not all(w in PLAIN or not LETTERS.search(w) for w in re.split(r"[\s,.…]+", t))]
    assert [t for t in bare if t not in {". SHA-256", ', "Sign by two".', "alert.acknowledge"}] == []


@tabulated("name", TEMPLATES)
def test_no_expression_shows_a_text_beside_the_catalogue(name):
    tree = ENVIRONMENT.parse(TEMPLATES[name].read_text(encoding="utf-8"))
    translated = {
        id(part)
        for call in tree.find_all(nodes.Call)
        for part in call.find_all(nodes.Const)
        if isinstance(call.node, nodes.Name) and call.node.name in {"_", "gettext", "ngettext"}
    }
    said = {id(part) for f in tree.find_all(nodes.Filter) if f.name == "say" for part in f.find_all(nodes.Const)}
    odd = [
        part.value
        for output in tree.find_all(nodes.Output)
        for part in output.find_all(nodes.Const)
        if isinstance(part.value, str)
        and id(part) not in translated | said
        and LETTERS.search(part.value)
        and not CODE.fullmatch(part.value)
    ]
    assert odd == []


SHOWN = re.compile(
    r"(?<![\w.])(?:textContent|name|text|says|latest)\s*[:=]\s*(\"[^\"]*[A-Za-z]{3}[^\"]*\"|`[^`$]*[A-Za-z]{3}[^`]*`)"
)


@tabulated("path", sorted(FOLDER.rglob("*.js")))
def test_no_script_shows_a_text_beside_the_catalogue(path):
    odd = [m[1] for m in SHOWN.finditer(path.read_text(encoding="utf-8")) if " " in m[1] and not m[1].startswith("`${")]
    assert odd == []


def test_every_quantity_and_kind_of_criterion_is_a_word_of_the_vocabulary():
    from monitor.sites.quantities import QUANTITIES as KNOWN

    assert {name.replace("_", " ") for name in KNOWN} == QUANTITIES
    assert {kind.replace("_", " ") for kind in CRITERIA} <= WORDS, "name the kind in KINDS of the vocabulary"


def test_a_missing_or_broken_catalogue_is_english(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(catalogues, "__file__", str(tmp_path / "catalogue.py"))
    open_catalogue.cache_clear()
    try:
        with catalogues.use_language("it"):
            assert catalogues.gettext("Alerts") == "Alerts"
            assert catalogues.ngettext("%(num)s row", "%(num)s rows", 2) == "%(num)s rows"
        assert "cannot be read" in caplog.text
    finally:
        open_catalogue.cache_clear()


def test_a_draft_does_not_count(tmp_path):
    file = tmp_path / "xx.po"
    file.write_text(
        'msgid ""\nmsgstr ""\n"Plural-Forms: nplurals=2; plural=(n > 1);\\n"\n\n#, fuzzy\nmsgid "a"\nmsgstr "b"\n\n'
        'msgid "c"\nmsgstr ""\n"d "\n"e"\n\n#~ msgid "f"\n#~ msgstr "g"\n\nmsgid "row"\nmsgid_plural "rows"\n'
        'msgstr[0] "r"\nmsgstr[1] "rr"\n'
    )
    with file.open("rb") as opened:
        read = catalogues.Catalogue(opened)
    assert read.entries() == {"c": "d e", ("row", 0): "r", ("row", 1): "rr"}
    assert (read.ngettext("row", "rows", 0), read.ngettext("row", "rows", 2), read.gettext("a")) == ("r", "rr", "a")


@pytest.mark.parametrize("said", ["{m} mm", "mm", "{n} mm 5 %", "%(n)s mm"])
def test_a_translation_that_lost_a_place_does_not_count(tmp_path, said):
    file = tmp_path / "xx.po"
    entry = f'msgid "{{n}} mm"\nmsgstr "{said}"\n'
    file.write_text(f'{entry}\nmsgctxt "a.b"\n{entry}')
    with file.open("rb") as opened:
        known = catalogues.Catalogue(opened)
    assert (known.gettext("{n} mm"), known.templates["a.b"]) == ("{n} mm", ("{n} mm", ""))


LEVELS_CUTTING = ("yellow", "orange", "red")
UNITS = ("mm", "mm/day", "degrees", "kPa")
FIGURE = re.compile(r"(?<![\w.])[-+]?\d+(?:\.\d+)?")
TITLE = st.text("ABC abc-.,;()/\u4e2d0123]", min_size=1, max_size=30).map(str.strip).filter(bool)
STATIONS = ("G1", "north-2", "Red", "Blue", "GREEN", "scene", "known", "rain", "observers", "earthquake", "level")
STATION = st.sampled_from(STATIONS)
COUNT = st.integers(1, 99)
SIZE = st.integers(0, 99_999).map(lambda n: Figure(n / 100, ".2f"))
AT = datetime(2026, 3, 1, 6, tzinfo=UTC)
VELOCITY = Template(
    "test.cutting.velocity",
    "velocity {one} ± 1 {unit} in 6h, over {other} {unit} in {n} of its last 3 readings, 2 needed",
)
STEP = Template("test.cutting.step", "step of {one} mm: nobody said within the clock that it was an instrument")
RULE = Template("test.cutting.rule", "rain {one} mm in 24 h is 121 % of the bound of 5 mm, known for 9 % and {n} more")
SHIFT = Template("test.cutting.shift", "displacement {one} {unit}, over {other} {unit} (sigma 0.2 mm; {n} epochs)")


@st.composite
def parts(draw):
    """One part of a reason, as criteria, steps and rules say it."""
    said = draw(st.sampled_from((VELOCITY, STEP, RULE, SHIFT)))(
        one=draw(SIZE), other=draw(SIZE), unit=draw(st.sampled_from(UNITS)), n=draw(COUNT)
    )
    return LABELLED_TEXT(name=draw(STATION), text=said)


@pytest.mark.parametrize("language", sorted(LANGUAGES))
@settings(max_examples=25, deadline=None)
@given(
    title=TITLE,
    level=st.sampled_from(LEVELS_CUTTING),
    told=st.lists(parts(), min_size=1, max_size=4),
    exercise=st.booleans(),
)
def test_a_subject_that_is_cut_keeps_site_level_figures_and_units(language, title, level, told, exercise):
    essence = join(told)
    subject = make_subject(Term(level.upper()), title, "", essence, AT)
    with use_language(language):
        cut, full = translate_subject(mark_exercise(subject) if exercise else subject), translate(essence)
    head = f"{translate_level(level, language).upper()} {title}: "
    assert len(cut) <= LONGEST
    assert cut.endswith(f"{CUT} 06:00") or (cut.endswith(". 06:00") and not cut.endswith("…. 06:00"))
    assert head in cut, cut
    essence = cut.partition(head)[2].removesuffix(" 06:00").removesuffix(".")
    if not essence.endswith(CUT):
        return
    reason = essence.removesuffix(CUT)
    bare = re.sub(r" ?[(（][^()（）]*[)）]", "", full)
    assert reason in full or reason in bare, (reason, full)
    # behind each figure stands what stands there in the whole sentence
    at = max(full.find(reason), 0) if reason in full else bare.find(reason)
    behind = (full if reason in full else bare)[at + len(reason) :]
    assert behind == "" or not FIGURE.search(reason[-1:]) or not re.match(r"[\d.]| [a-z]", behind), (reason, behind)


def test_the_least_important_facts_and_the_last_clauses_of_a_person_go_first():
    first = "velocity 62 mm/day (3 epochs; 2 needed), over 30 mm/day"
    text = LABELLED_TEXT(name="G1", text=join([join([first, "2 needed"], ", "), "G2: step of 12 mm"]))
    found = [cut_message(text, n) for n in range(len(text) - 1, 9, -1)]
    facts = ("velocity 62 mm/day (3 epochs; 2 needed)", "velocity 62 mm/day", "velocity", "ve", "v")
    assert list(dict.fromkeys(found)) == [f"G1: {left} …" for left in (f"{first}, 2 needed", first, *facts)]
    assert find_first_fact(text) == f"G1: {first}", "what is stored is the English text of fewer facts"
    assert find_first_fact(text).values["text"].values["parts"] == MessageList((join([first], ", "),))
    chinese = "G1: 6h 内速率 62.3 ± 1.2 mm/day，3 个数据历元高于 30 mm/day"
    assert {shorten(chinese, n) for n in range(31, len(chinese))} == {"G1: 6h 内速率 62.3 ± 1.2 mm/day …"}
    assert shorten("a subject that fits", 30) == "a subject that fits"
    assert len(shorten("x" * 500)) <= SUBJECT_LENGTH


def test_a_reason_of_any_length_is_cut_at_once():
    facts = ["G1: step of 12 mm at G1, a"] * 20_000
    began_s = time.process_time()
    for text in ("; ".join(facts), join(facts)):
        assert len(cut_message(text, SUBJECT_LENGTH)) <= SUBJECT_LENGTH
    assert time.process_time() - began_s < 2.0


@settings(max_examples=80, deadline=None)
@given(
    before=st.lists(st.sampled_from(["the file", "differs,", "velocity 12 mm/day", "at G1;", "看站点；"]), max_size=6),
    frame=st.sampled_from(["{}", "`{}`", "({})", "Run: {}", "see {}."]),
    command=st.sampled_from(["slopeward alerts explain 7", "slopeward sites propose a.toml --by NAME"]),
    most=st.integers(12, 160),
)
def test_no_cut_leaves_half_a_command(before, frame, command, most):
    text = " ".join([*before, frame.format(command)])
    for cut in (cut_words(text, most), shorten(text, most)):
        assert command in cut or "slopeward" not in cut, cut
        assert len(cut) <= max(most, len(CUT)), cut
