"""Plain values become records, or one error that names the first place that does not fit."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import pytest

from forecasting.message import Figure, Template, Timestamp, is_same_text, join
from monitor.worker.records import RecordError, read_record, record_to_plain


@dataclass(frozen=True)
class Part:
    at: datetime
    value: float | None = None


@dataclass(frozen=True)
class Whole:
    name: str
    number: int
    flag: bool
    box: tuple[float, float]
    parts: tuple[Part, ...] = ()
    by_name: dict[str, Part] = field(default_factory=dict)
    shares: Mapping[str, float] = field(default_factory=dict)
    words: list[str] = field(default_factory=list)
    card: dict[str, Any] = field(default_factory=dict)


AT = datetime(2026, 5, 12, 10, tzinfo=UTC)
WHOLE = Whole(
    "G1",
    3,
    flag=True,
    box=(1.0, 2.5),
    parts=(Part(AT, 0.1), Part(AT)),
    by_name={"a": Part(AT)},
    shares={"b": 0.5},
    words=["c"],
    card={"gates": [1, {"d": None}]},
)
PLAIN = json.loads(json.dumps(WHOLE, default=record_to_plain))


def test_what_is_spelled_is_read():
    assert read_record(Whole, PLAIN) == WHOLE


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("name", 1, "name: expected a text, got int"),
        ("number", 1.0, "number: expected a whole number, got float"),
        ("number", True, "number: expected a whole number, got bool"),
        ("flag", 1, "flag: expected true or false, got int"),
        ("box", [1.0], "box: expected a list of 2"),
        ("box", [1.0, "2"], "box: expected a number, got str"),
        ("parts", [{"at": "2026-05-12T10:00:00+00:00"}, {"at": "soon"}], "parts[1].at: expected an instant"),
        ("parts", [{"at": "2026-05-12"}], "parts[0].at: expected an instant with its offset from UTC"),
        ("parts", [{"value": 1.0}], "parts[0].at: is missing"),
        ("by_name", {"x": 3}, "by_name['x']: expected an object, got int"),
        ("words", "c", "words: expected a list, got str"),
        ("card", [], "card: expected an object, got list"),
        ("other", 1, "the answer: unknown key 'other'"),
    ],
)
def test_the_first_place_that_does_not_fit_is_named(key, value, told):
    with pytest.raises(RecordError) as caught:
        read_record(Whole, PLAIN | {key: value})
    assert str(caught.value) == told


SAID = Template("test.crossing", "{text} at {at}")(
    text=join([Template("test.moves", "moves {rate}")(rate=Figure(3.14159, ".2f", "mm/day")), "by hand"]),
    at=Timestamp(0.0, "minute"),
)


def test_a_message_crosses_with_its_id_and_values():
    whole = replace(WHOLE, name=SAID, words=["c", SAID], shares={}, card={})
    back = read_record(Whole, json.loads(json.dumps(whole, default=record_to_plain)))
    assert back == whole
    assert is_same_text(back.name, SAID)
    assert is_same_text(back.words[1], SAID)


@pytest.mark.parametrize(
    "values",
    [
        {"rate": {"figure": 1.0, "form": "9999999.2f"}},
        {"rate": {"figure": "x", "form": ".2f"}},
        {"rate": {"at_s": 1e300, "form": "minute"}},
        {"rate": {"items": [{"figure": 1.0, "form": ">99999999"}], "separator": "; "}},
        {"rate": {}},
    ],
)
def test_a_message_that_no_reader_could_be_shown_is_refused(values):
    told = {"text": "moves", "id": "test.moves", "values": values}
    with pytest.raises(RecordError, match="name: expected a text or a message"):
        read_record(Whole, PLAIN | {"name": told})


def test_what_is_no_plain_data_is_not_spelled():
    with pytest.raises(TypeError, match="set is no plain data"):
        json.dumps({"a": {1}}, default=record_to_plain)
