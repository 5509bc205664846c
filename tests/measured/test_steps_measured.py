"""Steps of measured records open a question or are events, and raise no level unless they are movement."""

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from monitor.decision.records import Decision, EventFact, Memory
from monitor.readings.records import Observation
from monitor.sites.fusion import Fusion
from monitor.sites.records import Criterion, Dwell, Level, SeriesSpec, Site, Station, Threshold
from monitor.text.instants import epoch_s
from tests.data.criteria import KINDS
from tests.data.measured import measured_site, read_cascadia, replay
from tests.data.readers.gnss import read_positions

pytestmark = pytest.mark.data
DAY_S = 86400.0
CLOCK_S = 3 * DAY_S
SILENCE_S = 4 * DAY_S


def make_site(names: Sequence[str], reference: str | None = None) -> Site:
    """Make a site of daily stations with bounds far above tectonic motion and far below an earthquake."""
    levels = tuple(Level(i, n, i < 2) for i, n in enumerate(("green", "yellow", "orange", "red")))
    series = {n: SeriesSpec(n, "displacement", "mm", DAY_S, SILENCE_S, 1.5, 20.0) for n in names}
    stations = (Station(n, azimuth_deg=90.0, plunge_deg=0.0, reference=reference, series=(series[n],)) for n in names)
    bounds = tuple(Threshold(k, over=v, window_s=d * DAY_S) for k, v, d in ((1, 3.0, 14), (2, 10.0, 10), (3, 40.0, 7)))
    rules = {"dwell": Dwell(2, 3, 7 * DAY_S), "min_sigma": 5.0, "recover": 0.6, "valid_for_s": 7 * DAY_S}
    velocity = Criterion("v", KINDS["velocity"], tuple(names), "displacement", bounds, **rules)
    fusion = Fusion(verify_within_s=CLOCK_S)
    place = ("gnss", "GNSS", 28.0, 85.0, "UTC")
    return Site(*place, levels, tuple(stations), (velocity,), fusion=fusion, version="steps")


def day(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def play(
    site: Site, rows: Iterable[Observation], *, events: tuple[EventFact, ...] = (), answer: str | None = None
) -> list[tuple[datetime, Decision]]:
    """Return every decision. An operator answers each question with `answer` before the next decision, if given."""

    def person(memory: Memory) -> Memory:
        if answer is None:
            return memory
        given = {k: answer for k, s in memory.steps.items() if s.state == "pending"}
        return Memory.read({**memory.to_json(), "answers": {**memory.answers, **given}})

    return list(replay(site, list(rows), extra_s=0.4 * DAY_S, events=events, person=person))


def asked(looks: Iterable[tuple[datetime, Decision]], station: str) -> list[str]:
    """Return the days of the steps of a station, in the order in which they were detected."""
    steps: dict[str, None] = {}
    for _, decision in looks:
        steps |= dict.fromkeys(k for k in decision.memory.steps if k.startswith(f"{station}@"))
    return [key.partition("@")[2][:10] for key in steps]


NEPAL = ("CHLM", "KKN4", "SNDL", "JMSM", "LCK3")
STEPPED = {"CHLM": "2015-04-26", "KKN4": "2015-04-26", "SNDL": "2015-04-25"}
GORKHA_S, TOHOKU_S = (epoch_s(day(at)) for at in ("2015-04-25T06:11", "2011-03-11T05:46"))
# Declared ten minutes after the earthquake and confirmed by two people at once.
GORKHA, TOHOKU = (
    EventFact(s, s, s + 600.0, "earthquake", 0.2, "Mw 8", "seismic service", 1, "mqtt", ("Ada", "Bo"))
    for s in (GORKHA_S, TOHOKU_S)
)


@pytest.fixture
def nepal(measured: Callable[[str], Path]) -> list[Observation]:
    folder = measured("gnss-nepal2015-neu")
    files = [folder / f"{name}.icd.final_igs08.pos.neu" for name in NEPAL]
    return [o for file in files for o in read_positions(file, "gnss", day("2015-03-01"), day("2015-05-11"))]


@pytest.mark.soak
def test_the_gorkha_earthquake_is_an_event_at_every_station_that_stepped(nepal):
    looks = play(make_site(NEPAL), nepal, events=(GORKHA,))
    assert max(d.level for _, d in looks) == 0, "an earthquake raised a level by itself"
    for name in NEPAL:
        assert asked(looks, name) == ([STEPPED[name]] if name in STEPPED else []), name
    assert {s.state for _, d in looks for s in d.memory.steps.values()} == {"event"}
    last = looks[-1][1].memory.conditions
    assert all(f"health:{name}:verify" in last for name in STEPPED), "the questions are still open"


@pytest.mark.parametrize(("events", "answer", "level"), [((TOHOKU,), None, 0), ((), "earthquake", 0), ((), None, 1)])
def test_tohoku_earthquake_and_its_slip_are_one_step(measured, events, answer, level):
    path = measured("gnss-formats/USUD.icd.final_igs08.pos.neu")
    rows = read_positions(path, "gnss", day("2011-01-15"), day("2011-04-20"))
    looks = play(make_site(["USUD"]), rows, events=events, answer=answer)
    assert asked(looks, "USUD") == ["2011-03-11"], "slip after the earthquake is no other step"
    assert max(d.level for _, d in looks) == level, "an unanswered step of one station raises only the first level"
    if level:
        risen = next(now for now, d in looks if d.level > 0)
        assert day("2011-03-11T12:00") + timedelta(seconds=CLOCK_S) <= risen <= day("2011-03-15")


def test_failed_and_replaced_antenna_opens_questions_and_raises_no_level(measured):
    rows = read_positions(measured("gnss-formats/LHAS.tenv3"), "gnss", day("2003-09-01"), day("2003-12-15"))
    looks = play(make_site(["LHAS"]), rows, answer="instrument")
    assert {"2003-10-30", "2003-11-04"} <= set(asked(looks, "LHAS")), "the start and the end of the failure are steps"
    assert max(d.level for _, d in looks) == 0


@pytest.mark.soak
@pytest.mark.parametrize("answer", ["instrument", None])
def test_scatter_of_months_opens_questions_for_days_and_at_its_end(measured, answer):
    """The end of the scatter is dated to the first quiet daily position, and known after six of them."""
    rows = read_positions(measured("gnss-formats/QUEM.pos"), "gnss", day("2017-11-15"), day("2018-05-15"))
    looks = play(make_site(["QUEM"]), rows, answer=answer)
    days = asked(looks, "QUEM")
    assert [d for d in days if d > "2018-01-20"] == ["2018-04-10"]
    assert (len(days) <= 7, "2018-01-10" in days) == (True, True)
    first = next(now for now, d in looks if any("@2018-04-10" in key for key in d.memory.steps))
    assert first == day("2018-04-15T12:00"), "the sixth quiet position"
    assert max(d.level for _, d in looks) == (0 if answer else 1), (
        "an unanswered step of one station raises only the first level"
    )


@pytest.mark.one_case_in(3)
@pytest.mark.parametrize(
    ("station", "from_at", "to_at", "on"),
    [
        ("BLYN", "2016-07-01", "2017-02-01", ["2016-10-08", "2016-11-28"]),  # wrong by decimetres for days
        ("KTBW", "2012-11-01", "2013-02-15", []),  # 123 mm on one day, with a large standard error
        ("P426", "2013-12-15", "2014-08-15", []),  # 281 mm with a large standard error, then silence
    ],
)
def test_steps_of_cascadia_open_questions_on_their_day(measured, station, from_at, to_at, on):
    rows = read_cascadia(measured("gnss-cascadia-pbo-csv"), day(from_at), day(to_at), (station,))
    looks = play(measured_site("cascadia"), rows)
    assert (asked(looks, station), max(d.level for _, d in looks)) == (on, 0)


def test_step_followed_by_silence_is_movement(nepal):
    """KKN4 falls silent after its step, while its neighbour reports."""
    end = day("2015-04-27")
    rows = [o for o in nepal if o.station in {"KKN4", "JMSM"} and (o.station != "KKN4" or o.observed_at < end)]
    looks = play(make_site(["KKN4", "JMSM"]), rows)
    assert max(d.level for now, d in looks if now <= day("2015-04-29")) == 0
    assert looks[-1][1].level == 2, "one witness: the level below the highest, and verify now"
    assert "has been silent since the jump" in next(iter(looks[-1][1].memory.steps.values())).reason


@pytest.mark.soak
def test_steps_in_two_groups_are_movement_and_on_one_reference_a_question(nepal):
    pair = [o for o in nepal if o.station in {"CHLM", "KKN4"}]
    apart = play(make_site(["CHLM", "KKN4"]), pair)
    assert next(now for now, d in apart if d.level > 0) == day("2015-04-28T12:00"), (
        "two more epochs of each station are needed"
    )
    assert max(d.level for _, d in apart) == 3
    together = play(make_site(["CHLM", "KKN4"], reference="BASE"), pair)
    assert max(d.level for now, d in together if now < day("2015-04-29")) == 0
    assert max(d.level for _, d in together) == 1, "two stations with one reference are one witness"
