"""Nothing that people read holds an internal name, a word twice, or a bound that a value passes the other way."""

import math
import re
from collections.abc import Iterator, Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forecasting.message import PLACE, Figure, Message, MessageList
from monitor.decision.criteria.kinds.velocity import AGAINST, describe_dwell
from monitor.domain.alert import AlertCategory, AlertState, DeliveryState
from monitor.domain.alerts.message import name_series
from monitor.domain.language.catalogue import LANGUAGES, find_template
from monitor.domain.language.rendering import translate
from monitor.domain.language.scripts import find_script_texts
from monitor.domain.quantities import QUANTITIES
from monitor.domain.terms import Section
from monitor.store.schema.views import NAMES as VIEWS
from tests.data.tables import tabulated
from tests.property.alerting_laws import draw_story, play
from tests.property.test_messages import TEMPLATES
from tests.unit.monitor.domain.language.test_catalogues import page_texts

NAME = re.compile(r"(?<![\w.$/-])[a-z]+(?:_[a-z0-9]+)+\b(?!\()")
TWICE = re.compile(r"\b(?:([^\W\d_]{2,}) \1|([^\W\d_]{4,}): \2)\b", re.IGNORECASE)
# names that a reader types or looks up: keys of tables, fields of messages, views, settings of others
OF_OTHERS = frozenset(
    """
persistent_client_expiration max_queued_messages max_queued_bytes per_listener_settings archive_command
pg_replication_slots pg_signal_backend cov_mm2 boot_id not_landslide interval_end job_limit
""".split()
)


def list_kinds(kind: type = Section) -> Iterator[type]:
    for one in kind.__subclasses__():
        yield one
        yield from list_kinds(one)


TYPED = OF_OTHERS | set(VIEWS) | {key for kind in list_kinds() for key in kind.model_fields}
SHOWN = sorted({*map(str, AlertState), *map(str, DeliveryState), *map(str, AlertCategory), *QUANTITIES})


def find_faults(text: str) -> list[str]:
    """What no reader should meet."""
    bare = re.sub(r"`[^`]*`", "", text)
    found = [f"internal name {one}" for one in NAME.findall(bare) if one not in TYPED or one in SHOWN]
    found += [f"twice {m[0]}" for m in TWICE.finditer(bare)]
    return found + (["a key"] if re.search(r"\w\|\w", bare) else [])


def test_faults_are_found():
    assert find_faults("alert 6 is out_of_service") == ["internal name out_of_service"]
    assert find_faults("hazard hazard: orange") == ["twice hazard hazard"]
    assert find_faults("red holds: velocity-1|G1") == ["a key"]
    assert find_faults("write noise_floor = 0.3, then `slopeward ingest --rejected_rows`") == []


def test_no_text_names_what_is_internal_or_says_a_word_twice():
    faults = {
        template_id: found
        for template_id, english in TEMPLATES
        if (found := find_faults(PLACE.sub("…", english).replace("… …", "…")))
    }
    assert faults == {}
    pages = [text for one in page_texts() for text in (one if isinstance(one, tuple) else (one,))]
    texts = [*find_script_texts(), *(re.sub(r"%\(\w+\)s", "…", text) for text in pages)]
    assert [text for text in texts if find_faults(PLACE.sub("…", text))] == []


@pytest.mark.parametrize("language", [code for code in LANGUAGES if code != "en"])
def test_no_translation_names_what_its_text_does_not(language):
    for template_id, english in TEMPLATES:
        names = set(NAME.findall(PLACE.sub("…", find_template(template_id, language))))
        assert names <= set(NAME.findall(PLACE.sub("…", english))), template_id


def list_texts(value: object) -> Iterator[Message]:
    """Every message in plain data."""
    if isinstance(value, Message):
        yield value
    elif isinstance(value, Mapping):
        for one in value.values():
            yield from list_texts(one)
    elif isinstance(value, list | tuple):
        for one in value:
            yield from list_texts(one)
    elif isinstance(value, MessageList):
        yield from list_texts(value.items)


@pytest.mark.turns
@pytest.mark.parametrize("seed", range(12))
def test_what_decisions_say_of_drawn_slopes_reads_plainly(seed):
    faults = set()
    for look in play(draw_story(seed)):
        decision = look.decision
        changes = [change.reason for change in decision.changes]
        health = [one.reason for one in decision.health]
        open_now = [one.reason for one in decision.memory.conditions.values()]
        for text in list_texts([decision.evidence, changes, health, open_now]):
            faults |= {(text.id, fault, str(text)) for fault in find_faults(text)}
    assert faults == set()


def test_what_is_over_asks_nothing_of_anybody():
    asking = re.compile(r"over: (decide|verify now|look )|look (whether|at|by) |answers? before|must answer")
    found = {
        str(change.reason)
        for seed in range(12)
        for look in play(draw_story(seed))
        for change in look.decision.changes
        if change.ledger == "health" and not change.open and asking.search(change.reason)
    }
    assert found == set()


@settings(max_examples=120, deadline=None)
@given(
    value=st.floats(-1e4, 1e4),
    bound=st.floats(0.01, 1e3),
    error=st.floats(0.0, 10.0),
    side=st.sampled_from([1, -1]),
    looked=st.integers(1, 4),
    language=st.sampled_from([*LANGUAGES]),
)
def test_a_rate_the_other_way_is_not_called_unsure(value, bound, error, side, looked, language):
    """Over its bound but unsure, within it, or surely the other way: three sentences, for bounds of either side."""
    said = {
        "hits": 0,
        "looked": looked,
        "needs": 3,
        "bound": side * bound,
        "error": error,
        "margin": side * (side * value - side * bound),
    }
    text = describe_dwell(said, Figure(side * bound, unit="mm/day"), "over" if side > 0 else "under")
    unsure = {"dwell.unsure_newest", "dwell.unsure_last"}
    if value > bound:
        assert text.id in unsure
    elif value < -error and not math.isclose(value, -error, abs_tol=1e-9):
        assert text.id == AGAINST.id
    else:
        assert text.id in {"dwell.within", AGAINST.id}
    assert "mm/day" in translate(text, language)


@tabulated("language", LANGUAGES)
@tabulated("quantity", sorted(QUANTITIES))
def test_a_series_is_named_in_words(language, quantity):
    assert find_faults(translate(name_series(f"G1.{quantity}"), language)) == []
