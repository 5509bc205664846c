"""Functions of the page without a database: sampling, evidence tables, formats, motion, and the language of answers.

The language is chosen by a cookie, by the header of the browser or by default. Programs receive English.
"""

import asyncio
import re
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from monitor.alerts.queries.overview import SiteCard
from monitor.alerts.queries.station_states import NO_STATES, StationStates
from monitor.decision.series.assessment import Assessment
from monitor.decision.series.reading_age import SeriesPace
from monitor.errors import NotAllowedError
from monitor.readings.records import Reading
from monitor.sites.records import Level, Site
from monitor.text.catalogue import current_language, gettext
from monitor.text.instants import parse_time
from monitor.text.local_time import use_zone
from monitor.text.message import LABELLED_TEXT, Term, Timestamp, join
from monitor.text.rendering import translate
from monitor.web.access.guard import Guard, check_csrf, csrf_token, is_safe_path
from monitor.web.access.reader import COOKIE, LanguageMiddleware
from monitor.web.access.redaction import WITHHELD, ResponseRedactor
from monitor.web.context import Context, RequestedRange
from monitor.web.parts import present_decision
from monitor.web.parts.collect import format_param
from monitor.web.parts.columns import component_weights, project_downslope, sample
from monitor.web.parts.evidence_listing import EvidenceTable, find_sentence, read_evidence
from monitor.web.parts.headline import describe_motion, find_hazards
from monitor.web.parts.templating import ENVIRONMENT, describe_sight, format_number, level_class, render_text
from monitor.web.routes.site.charts import read_range
from tests.tables import tabulated

T0 = datetime(2026, 3, 1, tzinfo=UTC)


def reading(k, value, flags=()):
    at = T0 + timedelta(hours=k)
    return Reading(at, at, 0, value, 0.0, value, 1.0, flags)


@given(st.lists(st.tuples(st.floats(-1e6, 1e6), st.booleans()), min_size=1, max_size=400), st.integers(8, 200))
def test_sampling_keeps_order_extremes_ends_and_newest_flag(values, most):
    readings = [reading(k, v, ("spike",) if odd else ()) for k, (v, odd) in enumerate(values)]
    sampled = sample(readings, most)
    assert sampled == [r for r in readings if r in sampled]
    assert len(sampled) <= max(most, 4) + most // 4 + 4
    assert min(r.value for r in sampled) == min(r.value for r in readings)
    assert max(r.value for r in sampled) == max(r.value for r in readings)
    assert (sampled[0], sampled[-1]) == (readings[0], readings[-1])
    if flagged := [r for r in readings if r.flags]:
        assert flagged[-1] in sampled


def test_downslope_needs_all_three_components_and_carries_flags():
    east = [reading(0, 1.0), reading(1, 1.0, ("spike",))]
    north, up = [reading(0, 0.0), reading(1, 0.0), reading(2, 0.0)], [reading(0, -1.0), reading(1, -1.0)]
    downslope = project_downslope([east, north, up], component_weights(90.0, 45.0))
    assert [r.value for r in downslope] == pytest.approx([2**0.5, 2**0.5])
    assert [r.flags for r in downslope] == [(), ("spike",)]
    assert downslope[0].sigma == pytest.approx(1.0)


LEVEL_OF_WORD = {"raise_level": 1, "hold_level": 1, "heard": True, "fresh": True, "newest_s": 0}
WORD = LEVEL_OF_WORD | {"criterion": "velocity", "station": "G1", "reason": "fast", "facts": {}}


def test_evidence_is_converted_to_tables():
    frozen = {
        "sentence": "yellow: G1 moves",
        "view": {"readings": {"G1.displacement_east": [["a", "b", 0, 1.0, 0.0, 1.0, None, ["spike"], None]] * 50}},
        "outcome": {
            "evidence": {
                "votes": {
                    "velocity|G1": {"level": 1, "newest_s": 0, "valid_until_s": 60, "counted": True, "pended": None}
                },
                "words": [WORD],
                "steps": {},
                "common": {},
                "held_by": [],
            }
        },
    }
    tables = read_evidence(frozen)
    assert [t.name for t in tables] == ["Votes", "What each rule said", "Readings of G1.displacement_east"]
    assert tables[0].rows[0][:3] == ["velocity · G1", 1, Term("counted")]
    assert (len(tables[2].rows), tables[2].left) == (40, 10)
    assert find_sentence(frozen) == "yellow: G1 moves"
    assert read_evidence({"a": 1, "b": [{"c": 2}], "d": {"e": [[1, 2]]}, "f": []})[1].rows == [[2]]
    assert read_evidence({}) == []


@given(
    st.recursive(
        st.none() | st.integers() | st.text(max_size=5),
        lambda x: st.lists(x, max_size=3) | st.dictionaries(st.text(max_size=5), x, max_size=3),
    )
)
def test_any_evidence_is_converted_to_tables(value):
    for table in read_evidence({"x": value}):
        assert all(isinstance(row, list) for row in table.rows)


@pytest.mark.parametrize(
    ("name", "number", "top", "expected"),
    [("red", 4, 4, "3"), ("Orange", 1, 2, "2"), ("stage 1", 1, 4, "1"), ("x", 0, 0, "0")],
)
def test_colour_of_a_level_follows_its_name(name, number, top, expected):
    assert level_class(name, number, top) == expected


def test_range_is_read_and_a_reversed_range_is_refused():
    assert read_range(T0, RequestedRange(span="1d")) == (T0 - timedelta(days=1), T0)
    with pytest.raises(Exception, match="from must lie before to"):
        read_range(T0, RequestedRange(T0, T0 - timedelta(days=1)))


def test_each_page_has_another_form_token_and_all_are_valid():
    tokens = {csrf_token("session") for _ in range(20)}
    assert len(tokens) == 20
    for token in tokens:
        check_csrf("session", token)
        for wrong in (token[:-1] + ("0" if token[-1] != "0" else "1"), token[:32], token.upper() + "g", "", None, 7):
            with pytest.raises(NotAllowedError):
                check_csrf("session", wrong)
        with pytest.raises(NotAllowedError):
            check_csrf("another", token)


@given(st.text(max_size=20))
def test_safe_path_never_leads_to_another_site(text):
    if is_safe_path(text):
        assert text.startswith("/")
        assert not text.startswith(("//", "/\\"))


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_formatted_number_is_close_to_its_value(value):
    assert float(format_number(value, 6)) == pytest.approx(value, rel=1e-3, abs=1e-300)


def test_times_in_sentences_are_local_with_utc_as_title():
    first, second = parse_time("2026-10-07T19:16:51.919000Z"), parse_time("2026-11-20T17:14:00Z")
    sentence = join(
        ["silent since", Timestamp.of(first), "fails about", Timestamp.of(second), "file 2026-10-07T1916.csv <b>"]
    )
    with use_zone("Europe/Zurich"):
        html = render_text(sentence)
    plain = re.sub("<[^>]*>", "", html)
    assert plain == (
        "silent since; 2026-10-07 21:16 CEST; fails about; 2026-11-20 18:14 CET; file 2026-10-07T1916.csv &lt;b&gt;"
    )
    assert 'title="2026-10-07 19:16 UTC"' in html


@tabulated(
    ("name", "value", "expected"),
    [
        ("dry_mm", 0.2, "dry 0.2 mm"),
        ("duration_from_s", 3600.0, "duration from 1h"),
        ("near_m", 500.0, "near 500 m"),
        ("min_coverage", 0.8, "min coverage 80 %"),
        ("newmark_cm:2", 5.0, "newmark 5 cm (level 2)"),
        ("a", 14.82, "a = 14.82"),
    ],
)
def test_a_setting_of_a_criterion_is_shown_with_its_unit(name, value, expected):
    assert format_param(name, value) == expected


@tabulated(
    ("text", "hidden"),
    [
        ("topic slopeward/v1/North-Bench/G1/obs", True),
        ("G7 is silent", True),
        ("stations G1, g7.", True),
        ("mqtt_north-bench_live", True),
        ("lake-20: not evaluated", True),
        ("Upper lake is blind", True),
        ("lake-2 and lake: G1 is silent", False),
        ("G70 is unknown", False),
        ("the disk is full", False),
        ("2026-03-01T06:00:00.000000Z", False),
        ("core is silent since 2026-03-01", True),
    ],
)
def test_text_that_names_another_site_is_withheld(text, hidden):
    """`2026` is a station of another site, but times are not hidden. `G1` is a station of both sites."""
    redactor = ResponseRedactor(
        ["lake", "lake-2", "G1"], ["north-bench", "lake-20", "Upper lake", "G1", "G7", "2026", ""]
    )
    row = {"site": "status", "state": "G7", "reason": text, "evidence": [{"said": (text,)}], "G7": 1}
    covered = WITHHELD if hidden else text
    expected = {"site": "status", "state": "G7", "reason": covered, "evidence": [{"said": [covered]}]}
    assert redactor.cover_service({"ledgers": [{"alerts": [row]}], "own": {"site": "lake", "reason": text}}) == {
        "ledgers": [{"alerts": [expected]}],
        "own": {"site": "lake", "reason": text},
    }
    assert ResponseRedactor().cover_service(row) is row
    table = EvidenceTable("Votes", (text,), [[text, 1]])
    assert redactor.cover_service({"site": "status", "tables": [table]})["tables"] == [
        EvidenceTable("Votes", [covered], [[covered, 1]])
    ]
    page = EvidenceTable("Votes", (), [[{"site": "status", "reason": text}]])
    assert redactor.cover_service(page).rows == [[{"site": "status", "reason": covered}]], (
        "texts within a record are withheld as well"
    )


LEVELS = [{"number": 0, "name": "green"}, {"number": 3, "name": "red"}]


def test_backlog_is_mentioned_at_any_observability() -> None:
    for sight in ("full", "degraded", "blind"):
        cards = [
            SiteCard("s", "S", 46.0, 9.0, LEVELS, {"observability": sight, "catching_up": catching_up}, NO_STATES)
            for catching_up in (True, False)
        ]
        texts = [describe_sight(card, T0) for card in cards]
        assert ["older readings are still being stored" in text for text in texts] == [True, False]
        assert ("decide by other means" in texts[0]) == (sight == "blind")


def test_dry_run_is_reused_for_some_seconds(monkeypatch):
    clock = [datetime(2026, 3, 1, tzinfo=UTC)]
    evaluations = []

    def evaluate(_db, site, now, *_, **__):
        evaluations.append((site.version, now))
        return SimpleNamespace(decision=SimpleNamespace(evidence={"sentence": "green", "words": []}))

    monkeypatch.setattr(present_decision, "evaluate_site", evaluate)
    levels = (Level(0, "green", auto_lower=True), Level(1, "red", auto_lower=False))
    sites = [Site("s", "S", 46.0, 8.0, "UTC", levels, (), (), version=v) for v in ("one", "two")]
    context = Context(None, None, lambda: clock[0], "1")
    for seconds, count in ((0, 1), (4, 1), (5, 2)):
        clock[0] = datetime(2026, 3, 1, tzinfo=UTC) + timedelta(seconds=seconds)
        assert present_decision.evaluate_now(context, sites[0]).sentence == "green"
        assert len(evaluations) == count
    present_decision.evaluate_now(context, sites[1])
    assert [version for version, _ in evaluations] == ["one", "one", "two"], (
        "each version of the site file has its own dry run"
    )


NOW_HEADLINE = datetime(2026, 3, 1, tzinfo=UTC)
SLOPE = {"G1", "G2", "G3"}


def stations_at(now=NOW_HEADLINE, states=None):
    """Return stations in some states. They report every hour, last a minute before `now`."""
    pace = SeriesPace(now - timedelta(minutes=1), now, 3600.0, 10800.0)
    paces = {(name, "displacement"): pace for name in SLOPE}
    return StationStates(now, {name: {"state": state} for name, state in (states or {}).items()}, paces)


def row(station, velocity, stage="creep", window=None, quantity="displacement", last=None, heard=None):
    last_stage = last or (None if stage == "unknown" else stage)
    facts = {"station": station, "quantity": quantity, "velocity_mm_per_day": velocity, "stage": stage}
    return facts | {"window": window, "last_stage": last_stage, "data_until": heard}


def window(begin, end, *, trusted=True):
    spelled = [f"2026-03-{day:02}T00:00:00.000000Z" for day in (begin, end)]
    return {"window_from": spelled[0], "window_to": spelled[1], "trusted": trusted}


def test_headline_is_about_the_first_hazard_of_a_site_and_no_drill():
    def alert(number, site, ledger="hazard", *, exercise=False):
        return {"alert_id": number, "site": site, "ledger": ledger, "exercise": exercise}

    alerts = [alert(1, "a", "health"), alert(2, "a"), alert(3, "b", exercise=True), alert(4, "a")]
    alerts.append(alert(5, "c", "advice"))
    assert {site: one["alert_id"] for site, one in find_hazards(alerts).items()} == {"a": 2}


def test_fastest_motion_counts_in_either_direction_and_silent_stations_keep_their_last_stage():
    rows = [row("G1", 3.0), row("G1", -8.0, "progressive", quantity="displacement_up"), row("G2", None, "unknown")]
    motion = describe_motion(rows, SLOPE, stations_at())
    assert (motion.fastest["velocity_mm_per_day"], motion.moving, motion.stations) == (-8.0, ["G1"], 1)
    assert (motion.lost, motion.last_stages) == (1, [])
    assert describe_motion([row("G2", None, "unknown")], SLOPE, stations_at()) is None
    silent = [row("G2", None, "unknown", last="progressive"), row("G3", None, "unknown", last="creep")]
    motion = describe_motion([row("G1", 0.1), *silent], SLOPE, stations_at())
    assert (motion.moving, motion.stations, motion.lost) == ([], 1, 2)
    assert motion.last_stages == ["progressive", "creep"]
    alone = describe_motion(silent, SLOPE, stations_at())
    assert (alone.fastest, alone.stations, alone.lost) == (None, 0, 2)


def test_stations_without_a_stage_are_counted_by_reason():
    """Stations with a stage from an hour ago count as well, and stations whose motion was never judged."""
    watched = {f"G{n}" for n in range(1, 14)}
    rows = [row(f"G{n}", 0.1) for n in range(1, 9)] + [row("G9", None, "unknown")]
    states = dict.fromkeys(("G1", "G2", "G10", "G13", "P"), "silent") | {"G3": "stuck", "G4": "verify"}
    motion = describe_motion(rows, watched, stations_at(states=states))
    expected = "6 of 13 stations on the slope cannot be judged now: 4 silent, 1 stuck, 1 without a stage"
    assert (motion.lost, motion.stations, motion.lost_text) == (6, 5, expected)


def test_past_failure_window_is_replaced_only_after_later_data():
    late, soon = window(20, 25), window(4, 12)
    until = window(2, 13)
    rows = [row("G1", 1.0, window=late, heard=until["window_from"]), row("G2", 1.0, window=soon)]
    rows.append(row("G3", 1.0, window=window(2, 3, trusted=False)))
    assert describe_motion(rows, SLOPE, stations_at()).window == soon | {"station": "G2"}
    after = datetime(2026, 3, 14, tzinfo=UTC)
    assert describe_motion(rows, SLOPE, stations_at(after)).window == soon | {"station": "G2"}, (
        "without later data the failure may have happened"
    )
    rows[0]["data_until"] = until["window_to"]
    assert describe_motion(rows, SLOPE, stations_at(after)).window == late | {"station": "G1"}
    assert describe_motion(rows[2:], SLOPE, stations_at()).window is None


def test_age_of_a_window_from_a_forecast_is_that_of_the_newest_reading():
    read_at = "2026-03-01T00:00:00.000000Z"
    issued = window(4, 12) | {"method": "forecast", "data_until": "2026-03-01T00:10:00.000000Z"}
    motion = describe_motion([row("G1", 1.0, window=issued, heard=read_at)], SLOPE, stations_at())
    assert motion.window["data_until"] == read_at


@pytest.mark.parametrize(
    ("level", "hours_ahead", "urgent"), [(1, 20, True), (1, 30, False), (0, 20, False), (None, 20, False)]
)
def test_failure_window_is_red_within_a_day_and_above_the_lowest_level(level, hours_ahead, urgent):
    at = NOW_HEADLINE + timedelta(hours=hours_ahead)
    ends = {"window_from": at, "window_mid": at, "window_to": at + timedelta(hours=1)}
    shown = ends | {"method": "inverse_velocity", "station": "G1", "data_until": NOW_HEADLINE}
    template = ENVIRONMENT.from_string(
        '{% from "situation.html" import outlook with context %}{{ outlook(motion, level=level) }}'
    )
    html = template.render(
        now=NOW_HEADLINE,
        motion=SimpleNamespace(window=shown),
        level=level,
        clock=lambda value, zone: str(value),
        age_of=str,
    )
    assert ('class="outlook urgent"' in html) is urgent


NO_DATA = Assessment("v", "Red").reason


def _answer(request):
    if request.url.path == "/said":
        return PlainTextResponse(translate(LABELLED_TEXT(name="Red", text=NO_DATA)))
    return PlainTextResponse(
        f"{current_language()} {gettext('Alerts')}"
    )  # This function runs in a thread, like those of the pages.


class Browser:
    def __init__(self):
        app = Starlette(routes=[Route("/{path:path}", _answer)])
        self.cookies = httpx.Cookies()
        self._transport = httpx.ASGITransport(LanguageMiddleware(app, "es"))

    def get(self, path, headers=None, params=None):
        async def ask():
            async with httpx.AsyncClient(
                transport=self._transport, base_url="http://page", cookies=self.cookies
            ) as client:
                answer = await client.get(path, headers=headers, params=params)
                self.cookies = client.cookies
                return answer

        return asyncio.run(ask())


@pytest.fixture
def browser():
    return Browser()


@pytest.mark.parametrize(
    ("accepted", "expected"),
    [
        ("", "es Alertas"),
        ("it-CH", "it Allerte"),
        ("zh-CN,zh;q=0.9", "zh 预警"),
        ("en;q=0.2, it;q=0.9", "it Allerte"),
        ("it;q=0, *", "es Alertas"),
        ("it;q=x", "es Alertas"),
    ],
)
def test_answer_is_in_the_language_of_the_browser(browser, accepted, expected):
    answer = browser.get("/", headers={"Accept-Language": accepted})
    assert answer.text == expected
    assert "set-cookie" not in answer.headers


def test_language_chosen_in_the_browser_is_stored_and_has_priority(browser):
    answer = browser.get("/?lang=it")
    assert answer.text == "it Allerte"
    assert "SameSite=Lax" in answer.headers["set-cookie"]
    assert browser.get("/alerts", headers={"Accept-Language": "zh"}).text == "it Allerte"
    assert browser.get("/?lang=en").text == "en Alerts"
    assert browser.cookies[COOKIE] == "en"


@pytest.mark.parametrize("lang", ["fr", "../it", "it\r\nx: y", ""])
def test_unknown_language_is_ignored(browser, lang):
    answer = browser.get("/", params={"lang": lang})
    assert answer.text == "es Alertas"
    assert "set-cookie" not in answer.headers
    assert browser.get("/", headers={"Cookie": f"{COOKIE}=fr"}).text == "es Alertas"


def test_programs_receive_english_by_default_and_set_no_cookie(browser):
    italian = {"Accept-Language": "it", "Cookie": f"{COOKIE}=it"}
    assert browser.get("/api/v1/sites", headers=italian).text == "en Alerts"
    assert browser.get("/health", headers=italian).text == "en Alerts"
    answer = browser.get("/api/v1/sites?lang=it")
    assert answer.text == "it Allerte"
    assert "set-cookie" not in answer.headers
    answer = browser.get("/live/overview?lang=zh")
    assert answer.text == "zh 预警"
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize("other", ['pref={"a":"b"}', "a@{}=1 2", "x", 'q="\\"'])
def test_cookies_of_other_pages_do_not_hide_the_choice(browser, other):
    assert browser.get("/", headers={"Cookie": f"{other}; {COOKIE}=it"}).text == "it Allerte"


def test_cookie_of_backslashes_is_parsed_quickly():
    """Python needs 2 s to parse such a cookie of 30 kB (CVE-2024-7592), and other requests wait for that time."""
    app = Guard(Starlette(routes=[Route("/", lambda request: PlainTextResponse(str(request.cookies)))]))

    async def ask(cookie):
        transport = httpx.ASGITransport(LanguageMiddleware(app, "es"))
        async with httpx.AsyncClient(transport=transport, base_url="http://page") as client:
            return (await client.get("/", headers={"Cookie": cookie})).text

    assert asyncio.run(ask('a="' + "\\" * 30_000 + '"; b="2"')) == "{'b': '2'}"
    assert asyncio.run(ask('a="2"; b=3')) == "{'a': '2', 'b': '3'}"


def test_station_named_like_a_level_is_not_translated(browser):
    assert browser.get("/said?lang=en").text == "Red: no usable data"
    assert browser.get("/said?lang=it").text.startswith("Red: nessun dato")
    assert browser.get("/said?lang=es").text.startswith("Red: ")
