"""Plain values become records, or one error that names the first place that does not fit."""

import gc
import json
import subprocess
import sys
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
from monitor.worker.memory import spare_what_stays, without_looks
from monitor.worker.records import RecordError, read_record, record_to_plain
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


def test_what_is_spelled_is_read_and_what_is_no_plain_data_is_not_spelled():
    assert read_record(Whole, PLAIN) == WHOLE
    with pytest.raises(TypeError, match="set is no plain data"):
        json.dumps({"a": {1}}, default=record_to_plain)


@dataclass(frozen=True)
class Choice:
    unit: Literal["deg", "gon"] = "deg"
    units: tuple[Literal["deg", "gon"], ...] = ()


def test_a_value_of_a_few_is_read_and_any_other_is_refused():
    chosen = Choice("gon", ("deg", "gon"))
    assert read_record(Choice, json.loads(json.dumps(chosen, default=record_to_plain))) == chosen
    for value in ("rad", 1, None, {"code": "gon"}):
        with pytest.raises(RecordError, match="unit: expected one of deg, gon"):
            read_record(Choice, {"unit": value})


@tabulated(
    ("key", "value", "told"),
    [
        ("ground", {"type": "Polygon"}, "ground.coordinates: is missing"),
        ("ground", {"type": 1, "coordinates": []}, "ground.type: expected a text, got int"),
        ("ground", {"type": "Point", "coordinates": [], "crs": ""}, "ground: unknown key 'crs'"),
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


# a circle that tells when it is found
ENDS = """
import atexit, gc, sys
from monitor.worker import memory
class Circle:
    def __init__(self): self.me = self
    def __del__(self): print("found")
atexit.register(print, "said at the end")
if sys.argv[1:]: memory.end_without_cleanup()
Circle()
"""
STARTS = """
import gc
looks = []
gc.callbacks.append(lambda phase, told: looks.append(phase))
from monitor.cli.main import run_verb
run_verb(["run", "--help"])
print("looks", len(looks))
"""

FORGETS = """
import sys
from sqlalchemy import text
from monitor.storage.engine import Database
from monitor.worker.memory import end_without_cleanup
end_without_cleanup()
database = Database(f"sqlite:///{sys.argv[1]}")
with database.write() as c:
    c.execute(text("CREATE TABLE one (k INTEGER)"))
"""


def say(program, *words):
    done = subprocess.run([sys.executable, "-c", program, *words], capture_output=True, text=True, check=True)
    assert not done.stderr
    return done.stdout.splitlines()


@dataclass(frozen=True)
class Answer:
    reason: Reason
    other: str | Reason = ""
    optional: Reason | None = None


PART = Reason("text.of", {"name": "B", "text": "C"})
REASON = join_reasons([Reason("text.of", {"name": "A", "text": PART}), PART])


@pytest.mark.parametrize("answer", [Answer(REASON), Answer(REASON, "plain"), Answer(REASON, REASON, REASON)])
def test_a_reason_crosses_with_its_code_and_values(answer):
    assert read_record(Answer, json.loads(json.dumps(answer, default=record_to_plain))) == answer


def test_a_message_crosses_in_the_place_of_a_reason():
    text = join(["rain", Template("example.snow", "snow of {n} mm")(n=Figure(3.0))])
    answer = read_record(Answer, json.loads(json.dumps(Answer(REASON, text), default=record_to_plain)))
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
def test_a_reason_without_a_text_is_refused(reason):
    with pytest.raises(RecordError, match="reason: expected a reason"):
        read_record(Answer, {"reason": reason})


def test_reason_of_a_plugin_is_read_if_the_function_of_the_task_describes_it():
    texts = {"plugin.dry": reason_text(Template("plugin.dry", "dry for {days} days"))}

    def describe_reason(reason):
        return convert_reason(reason, texts)

    dry = {"reason": {"code": "plugin.dry", "values": {"days": 3}}}
    assert read_record(Answer, dry, describe_reason) == Answer(Reason("plugin.dry", {"days": 3}))
    with pytest.raises(RecordError, match="reason: expected a reason"):
        read_record(Answer, dry)
    with pytest.raises(RecordError, match="reason: expected a reason"):
        read_record(Answer, {"reason": {"code": "plugin.wet", "values": {}}}, describe_reason)


def test_what_stays_is_left_out_of_later_looks():
    before = gc.get_threshold()
    kept = [[n] for n in range(1000)]
    frozen = gc.get_freeze_count()
    gc.disable()  # as the supervisor starts a process
    try:
        spare_what_stays()
        assert gc.isenabled()
        assert gc.get_freeze_count() >= frozen + len(kept)
    finally:
        gc.enable()
        gc.unfreeze()  # all that other tests of this process left would stay out of every look
        gc.set_threshold(*before)


def test_a_process_ends_without_a_look_and_does_what_it_was_asked_to_do_at_its_end():
    assert say(ENDS) == ["said at the end", "found"]
    assert say(ENDS, "spared") == ["said at the end"]


@pytest.mark.parametrize("looking", [True, False])
def test_looking_goes_on_as_it_was(looking):
    before = gc.isenabled()
    (gc.enable if looking else gc.disable)()
    try:
        with pytest.raises(ImportError), without_looks():
            assert not gc.isenabled()
            raise ImportError
        assert gc.isenabled() is looking
    finally:
        (gc.enable if before else gc.disable)()


def test_a_verb_is_loaded_without_a_look():
    told = int(say(STARTS)[-1].removeprefix("looks "))
    assert told < 130, "two calls a look: they were more than 400"


def test_a_database_that_nobody_closed_is_one_file_when_the_process_has_ended(tmp_path):
    say(FORGETS, str(tmp_path / "one.db"))
    assert [path.name for path in tmp_path.iterdir()] == ["one.db"]
