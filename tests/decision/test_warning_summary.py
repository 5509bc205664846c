"""The summary for people: which motion raises which level of a site, how quickly, and what is missed."""

import pytest

from monitor.decision.warning_summary import RecordDays, RecordEnd, WarningSummary, summarise_warnings
from monitor.sites.parsing import parse_site
from monitor.sites.records import Site
from tests.data.site_text import FOUR, criterion, head, series, station

DAILY = series("crack_opening", "mm", "1d", noise_floor=0.1)
SURVEYED = series("displacement_downslope", "mm", "31d", noise_floor_mm=2.0)
FOR_CRACK = criterion(
    "rate",
    id="r",
    series="E1.crack_opening",
    yellow={"over": 2.0, "window": "14d"},
    orange={"over": 10.0, "window": "7d"},
    dwell={"hits": 2, "of": 3},
)
FOR_SURVEY = criterion(
    "survey_rate",
    id="s",
    stations=["P*"],
    quantity="displacement_downslope",
    yellow={"over": 2.0, "window": "93d"},
    red={"over": 10.0, "window": "93d"},
    dwell={"hits": 1, "of": 1},
)
FOR_LINE = criterion(
    "velocity",
    id="l",
    stations=["P*"],
    quantity="displacement_downslope",
    yellow={"over": 1.0, "window": "124d"},
    dwell={"hits": 2, "of": 2},
)


def make_site(*parts: str) -> Site:
    return parse_site("".join((head("bench", levels=FOUR), *parts)), "bench.toml")


def list_sentences(summary: WarningSummary) -> list[str]:
    return [str(line) for group in summary.groups for line in (group.heading, *group.list_lines())]


def test_rate_of_daily_readings_is_described_with_its_delay_and_what_is_missed():
    days = RecordDays({("r", "yellow"): 12, ("r", "orange"): 0}, 240)
    summary = summarise_warnings(make_site(station("E1", DAILY), FOR_CRACK), days)
    heading, yellow, orange, red, missed, jumps = list_sentences(summary)
    assert heading == "E1.crack_opening (a reading every 1 d)"
    assert yellow == (
        "yellow: faster than 2 mm/day over 14 d; very fast motion raises it within 3 d (at reading 3), "
        "the slowest such motion within 15 d (at reading 15); the condition was met on 12 "
        "of the 240 days of this record"
    )
    assert orange == (
        "orange: faster than 10 mm/day over 7 d; very fast motion raises it within 3 d (at reading 3), "
        "the slowest such motion within 8 d (at reading 8); the condition was met on none of "
        "the 240 days of this record"
    )
    assert red == "red: never raised by these series alone"
    assert missed == (
        "missed: steady motion of 2 mm/day or less (730 mm in a year); a collapse that is complete less than 3 d "
        "after its start (before 3 readings show it); a change during a gap of more than 14 d between readings"
    )
    assert jumps == (
        "a single jump between two readings 1 d apart: up to 14 mm raises nothing; from about 14 mm on the recipients "
        "are asked what it was (see below); yellow if nobody answers within 2 d 12 h"
    )


def test_days_without_judgement_do_not_count_as_days_without_alarm():
    site = make_site(station("E1", DAILY), FOR_CRACK)
    days = {("r", "yellow"): 12, ("r", "orange"): 0}
    some = list_sentences(summarise_warnings(site, RecordDays(days, 240, judged={"r": 200})))
    assert some[1].endswith(
        "the condition was met on 12 of the 240 days of this record; only 200 of these days could be judged"
    )
    none = RecordDays({("r", "yellow"): 0, ("r", "orange"): 0}, 240, judged={"r": 0})
    assert list_sentences(summarise_warnings(site, none))[2].endswith(
        "could not be judged on any of the 240 days of this record"
    )
    assert none.list_judged() == {}


def test_survey_rate_is_raised_by_one_survey_even_if_it_is_wrong():
    site = make_site(station("P1", SURVEYED), station("P2", SURVEYED), FOR_SURVEY)
    sentences = list_sentences(summarise_warnings(site))
    assert sentences[0] == "P1.displacement_downslope, P2.displacement_downslope (a reading every 31 d)"
    assert sentences[1].startswith(
        "yellow: faster than 2 mm/day in any direction from one reading to the next; very fast motion raises it within "
        "31 d"
    )
    assert "a collapse that is complete before the next reading (up to 31 d after its start)" in sentences[-2]
    assert sentences[-2].endswith("; a change during a gap of more than 1116 d between readings")
    assert sentences[-1] == (
        "a single jump between two readings 31 d apart: up to 62 mm raises nothing; above 62 mm yellow at once, "
        "even if it is one wrong reading"
    )
    alone = make_site(station("P1", SURVEYED), FOR_SURVEY, "[fusion]\ntop_needs = 1\n")
    assert "above 310 mm red at once" in list_sentences(summarise_warnings(alone))[-1]


def test_same_speed_in_both_directions_is_one_sentence():
    back = FOR_CRACK.replace('"r"', '"b"').replace("over = 2.0", "under = -2.0").replace("over = 10.0", "under = -10.0")
    assert back.count("under") == 2
    site = make_site(station("E1", DAILY), FOR_CRACK, back)
    days = RecordDays({("r", "yellow"): 3, ("b", "yellow"): 5}, 240)
    (group,) = summarise_warnings(site, days).groups
    assert [level.level for level in group.levels] == ["yellow", "orange", "red"]
    assert "faster than 2 mm/day in either direction over 14 d" in group.levels[0].text
    assert group.levels[0].days == 5


def test_unjudged_series_and_stable_ground_are_named():
    tilt = station("K1", series("tilt_x", "mrad", noise_floor=0.01))
    control = station("C1", DAILY, on_slope=False)
    summary = summarise_warnings(make_site(station("E1", DAILY), tilt, control, FOR_CRACK))
    assert summary.unjudged == ("K1.tilt_x",)
    assert "on stable ground, so no criterion judges it: C1.crack_opening" in summary.notes
    assert summary.to_json()["not_judged"] == ["K1.tilt_x"]


def test_unreachable_level_states_its_reason():
    rare = station("E1", series("crack_opening", "mm", "7d", max_silence="60d", noise_floor=0.1))
    (group,) = summarise_warnings(make_site(rare, FOR_CRACK)).groups
    assert group.levels[0].faster_than is None
    assert (
        "cannot be reached: a reading is received every 7d, so the window of 14d contains 2 readings"
        in group.levels[0].text
    )


def test_only_the_named_stations_are_summarised():
    site = make_site(station("E1", DAILY), station("P1", SURVEYED), FOR_CRACK, FOR_SURVEY)
    groups = summarise_warnings(site, stations={"P1"}).groups
    assert [group.series for group in groups] == [("P1.displacement_downslope",)]


@pytest.mark.parametrize("window", ["30d", "10d"])
def test_failure_windows_need_two_stations(window):
    failure = criterion(
        "inverse_velocity", id="i", role="witness", stations=["P*"], quantity="displacement", yellow={"within": window}
    )
    gnss = series("displacement", "mm", "1d", noise_floor_mm=1.0)
    two = [station(name, gnss, azimuth_deg=90.0, plunge_deg=0.0) for name in ("P1", "P2")]
    alone = summarise_warnings(make_site(two[0], failure)).notes
    both = summarise_warnings(make_site(*two, failure)).notes
    assert not any("failure windows" in note for note in alone)
    shown = window.replace("d", " d")
    assert any(
        f"if two stations that share no instrument agree: yellow for a failure within {shown}" in note for note in both
    )


def test_reached_days_are_named_by_station():
    both = station("P1", SURVEYED), station("P2", SURVEYED)
    dates = {("s", "P1", "yellow"): {"2026-07-01", "2026-06-02"}, ("s", "P2", "red"): {"2026-07-01"}}
    counts = {("s", "yellow"): 2, ("s", "red"): 1}
    record = RecordDays(counts, 881, by_station=dates, end=RecordEnd("2026-07-31", 120 * 86400.0, 1, "2026-06-02"))
    summary = summarise_warnings(make_site(*both, FOR_SURVEY), record)
    (group,) = summary.groups
    yellow, _, red = [level.text for level in group.levels]
    assert yellow.endswith(
        "of the 881 days of this record, the condition was met at P1 on 2 days (the first 2026-06-02, the last "
        "2026-07-01), at P2 on none"
    )
    assert red.endswith(
        "of the 881 days of this record, the condition was met at P2 on 1 day (2026-07-01), at P1 on none"
    )
    assert (
        "the newest reading is of 2026-07-31 (120 d ago); the level after it is yellow, since 2026-06-02"
        in summary.notes
    )


def test_days_of_a_whole_criterion_are_not_those_of_one_station():
    site = make_site(station("P1", SURVEYED), station("P2", SURVEYED), FOR_SURVEY)
    (group,) = summarise_warnings(site, RecordDays({("s", "yellow"): 8}, 400)).groups
    assert group.levels[0].text.endswith(
        "any station of its criterion met the condition on 8 of the 400 days of this record"
    )


def test_bound_raised_by_noise_is_shown_with_the_effective_rate():
    noisy = station("E1", series("crack_opening", "mm", "1d", noise_floor=20.0))
    (group,) = summarise_warnings(make_site(noisy, FOR_CRACK)).groups
    assert "faster than 2 mm/day over 14 d, in effect from" in group.levels[0].text


def test_outcomes_of_a_jump_are_sorted_by_size_without_contradiction():
    survey = FOR_SURVEY.replace("yellow = {over = 2.0", "yellow = {over = 1.0")
    site = make_site(station("P1", SURVEYED), station("P2", SURVEYED), survey, FOR_LINE)
    (group,) = summarise_warnings(site).groups
    assert str(group.jumps) == (
        "a single jump between two readings 31 d apart: up to 31 mm raises nothing; above 31 mm yellow at once, even "
        "if it is one wrong reading; from about 62 mm on the recipients are asked what it was (see below)"
    )
