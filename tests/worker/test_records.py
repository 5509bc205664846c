"""Test that plain values are converted to records, or rejected with the path of the first value that does not fit."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Literal

import pytest

from detection.geojson import Geometry
from forecasting.reasons import Reason, join_reasons
from monitor.text.formats import reason_text
from monitor.text.message import Figure, Template, Timestamp, is_same_text, join
from monitor.text.reasons import convert_reason
from monitor.worker.records import RecordError, plain_to_record, record_to_plain
from tests.tables import tabulated


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
    ground: Geometry | None = None


AT = datetime(2026, 5, 12, 10, tzinfo=UTC)
SQUARE = {"type": "Polygon", "coordinates": [[[9.0, 46.5]]]}
NAMED = {"by_name": {"a": Part(AT)}, "shares": {"b": 0.5}, "card": {"gates": [1, {"d": None}]}, "ground": SQUARE}
WHOLE = Whole("G1", 3, flag=True, box=(1.0, 2.5), parts=(Part(AT, 0.1), Part(AT)), words=["c"], **NAMED)
PLAIN = json.loads(json.dumps(WHOLE, default=record_to_plain))


def test_record_survives_conversion_to_json_and_other_values_are_rejected():
    assert plain_to_record(Whole, PLAIN) == WHOLE
    with pytest.raises(TypeError, match="set is no plain data"):
        json.dumps({"a": {1}}, default=record_to_plain)


@dataclass(frozen=True)
class Choice:
    unit: Literal["deg", "gon"] = "deg"
    units: tuple[Literal["deg", "gon"], ...] = ()


def test_value_outside_a_literal_type_is_rejected():
    choice = Choice("gon", ("deg", "gon"))
    assert plain_to_record(Choice, json.loads(json.dumps(choice, default=record_to_plain))) == choice
    for value in ("rad", 1, None, {"code": "gon"}):
        with pytest.raises(RecordError, match="unit: expected one of deg, gon"):
            plain_to_record(Choice, {"unit": value})


@tabulated(
    ("key", "value", "text"),
    [
        ("ground", {"type": "Polygon"}, "ground.coordinates: is missing"),
        ("ground", {"type": 1, "coordinates": []}, "ground.type: expected a text, got int"),
        ("ground", {"type": "Point", "coordinates": [], "crs": ""}, "ground: unknown key 'crs'"),
        ("number", True, "number: expected a whole number, got bool"),
        ("flag", 1, "flag: expected true or false, got int"),
        ("box", [1.0], "box: expected a list of 2"),
        ("box", [1.0, "2"], "box[1]: expected a number, got str"),
        ("parts", [{"at": "2026-05-12T10:00:00+00:00"}, {"at": "soon"}], "parts[1].at: expected an instant"),
        ("parts", [{"at": "2026-05-12"}], "parts[0].at: expected an instant with its offset from UTC"),
        ("parts", [{"value": 1.0}], "parts[0].at: is missing"),
        ("by_name", {"x": 3}, "by_name['x']: expected an object, got int"),
        ("words", "c", "words: expected a list, got str"),
        ("card", [], "card: expected an object, got list"),
        ("other", 1, "the answer: unknown key 'other'"),
    ],
)
def test_error_names_the_first_value_that_does_not_fit(key, value, text):
    with pytest.raises(RecordError) as caught:
        plain_to_record(Whole, PLAIN | {key: value})
    assert str(caught.value) == text


MESSAGE = Template("test.crossing", "{text} at {at}")(
    text=join([Template("test.moves", "moves {rate}")(rate=Figure(3.14159, ".2f", "mm/day")), "by hand"]),
    at=Timestamp(0.0, "minute"),
)


def test_message_keeps_its_id_and_values():
    record = replace(WHOLE, name=MESSAGE, words=["c", MESSAGE], shares={}, card={})
    copy = plain_to_record(Whole, json.loads(json.dumps(record, default=record_to_plain)))
    assert copy == record
    assert is_same_text(copy.name, MESSAGE)
    assert is_same_text(copy.words[1], MESSAGE)


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
def test_message_that_cannot_be_formatted_is_rejected(values):
    message = {"text": "moves", "id": "test.moves", "values": values}
    with pytest.raises(RecordError, match="name: expected a text or a message"):
        plain_to_record(Whole, PLAIN | {"name": message})


@dataclass(frozen=True)
class Answer:
    reason: Reason
    other: str | Reason = ""
    optional: Reason | None = None


PART = Reason("text.of", {"name": "B", "text": "C"})
REASON = join_reasons([Reason("text.of", {"name": "A", "text": PART}), PART])


@pytest.mark.parametrize("answer", [Answer(REASON), Answer(REASON, "plain"), Answer(REASON, REASON, REASON)])
def test_reason_keeps_its_code_and_values(answer):
    assert plain_to_record(Answer, json.loads(json.dumps(answer, default=record_to_plain))) == answer


def test_message_is_allowed_instead_of_a_reason():
    text = join(["rain", Template("example.snow", "snow of {n} mm")(n=Figure(3.0))])
    answer = plain_to_record(Answer, json.loads(json.dumps(Answer(REASON, text), default=record_to_plain)))
    assert is_same_text(answer.other, text)


@pytest.mark.parametrize(
    "reason",
    [
        None,
        "text.of",
        {"code": "no.such.code", "values": {}},
        {"code": "text.of", "values": {"name": "A"}},
        {"code": "text.of", "values": {"name": "A", "text": {"code": "no.such.code", "values": {}}}},
        {"code": "text.of", "values": {"name": "A", "text": "B"}, "text": "C"},
    ],
)
def test_reason_without_a_text_is_rejected(reason):
    with pytest.raises(RecordError, match="reason: expected a reason"):
        plain_to_record(Answer, {"reason": reason})


def test_reason_of_a_plugin_is_read_if_the_function_of_the_task_describes_it():
    texts = {"plugin.dry": reason_text(Template("plugin.dry", "dry for {days} days"))}

    def describe_reason(reason):
        return convert_reason(reason, texts)

    dry = {"reason": {"code": "plugin.dry", "values": {"days": 3}}}
    assert plain_to_record(Answer, dry, describe_reason) == Answer(Reason("plugin.dry", {"days": 3}))
    with pytest.raises(RecordError, match="reason: expected a reason"):
        plain_to_record(Answer, dry)
    with pytest.raises(RecordError, match="reason: expected a reason"):
        plain_to_record(Answer, {"reason": {"code": "plugin.wet", "values": {}}}, describe_reason)
