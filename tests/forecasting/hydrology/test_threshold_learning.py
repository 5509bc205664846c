"""Learning a rain threshold: events, a known threshold, refusals, and the command."""

import itertools
import json
import random
from datetime import UTC, datetime, timedelta

import pytest

from forecasting.hydrology.threshold_learning import (
    Samples,
    ThresholdScore,
    TooFewEventsError,
    date_onsets,
    find_events,
    learn_threshold,
    predict_rain,
)
from monitor.cli.main import run_command
from monitor.decision.prepared_site import PreparedSite
from monitor.decision.records import DecisionInputs, Memory
from monitor.decision.series.assessment import DecisionContext
from monitor.readings.records import Reading
from monitor.sites.parsing import parse_site
from monitor.text.instants import from_epoch_s
from tests.data.criteria import CRITERIA
from tests.data.site_text import head, series, station

DAY = 86400.0
START = datetime(2018, 1, 1, tzinfo=UTC).timestamp()


def test_instants_after_an_onset_are_left_out():
    rates = [0, 0, 5, 6, 0, 5, 0, 0, 0, 0, 5]
    samples = find_events([i * DAY for i in range(11)], rates, 1.0, 2.5 * DAY)
    assert samples.event == (False, False, True, None, None, None, None, None, False, False, True)
    moving = find_events([0.0, DAY], [5.0, 0.0], 1.0, 0.5 * DAY)
    assert moving.event == (None, False), "the onset is before the record"


def test_the_predictor_is_the_largest_sum_within_the_lag_and_uses_no_later_rain():
    days = [i * DAY for i in range(8)]
    rain = [0.0, 10.0, 20.0, 0.0, 0.0, 0.0, 50.0, 0.0]
    two_days = predict_rain(days, rain, DAY, days, 2 * DAY, 3 * DAY)
    assert two_days == [None, 10.0, 30.0, 30.0, 30.0, 20.0, 50.0, 50.0]
    assert predict_rain(days, [*rain[:6], 0.0, 0.0], DAY, days, 2 * DAY, 3 * DAY)[:6] == two_days[:6]


def test_an_event_is_dated_where_its_movement_begins():
    days = [i * DAY for i in range(12)]
    place = [0.0] * 6 + [0.5, 10.0, 20.0, 20.0, 20.0, 20.0]
    rates = [(place[i + 4] - place[i]) / 4 for i in range(8)]
    early = find_events(days[:8], rates, 2.0, 3 * DAY)
    assert early.event[3] is True, "the window that begins on day 3 already ends in the movement of day 6 to 8"
    dated = date_onsets(early, days, place, 4 * DAY)
    assert ([i for i, e in enumerate(dated.event) if e], dated.event[3:6]) == ([6], (None, None, None))
    assert dated.event[:3] == (False, False, False)


def test_scores_by_hand():
    score = ThresholdScore(40.0, hits=3, misses=1, false_alarms=10, quiet=90)
    assert (score.hit_rate, score.false_rate, score.skill) == (0.75, 0.1, pytest.approx(0.65))


def history(years=6, seed=1, chance_event=1.0):
    """Daily rain; the slope moves for three days from the day on which two days brought more than 60 mm."""
    chance = random.Random(seed)
    rain = [chance.random() * 80.0 if chance.random() < 0.03 else chance.random() * 5.0 for _ in range(365 * years)]
    days = [START + i * DAY for i in range(len(rain))]
    place, moved = 0.0, []
    busy = 0
    for i in range(len(rain)):
        if i and rain[i] + rain[i - 1] > 60.0 and chance.random() < chance_event:
            busy = 3
        moved.append(place)
        place += 10.0 if busy else 0.02
        busy = max(0, busy - 1)
    return days, rain, moved


def test_a_known_threshold_is_learned_and_has_skill_in_years_left_out():
    days, rain, moved = history()
    rates = [b - a for a, b in itertools.pairwise(moved)]
    samples = find_events(days[:-1], rates, 5.0, 5 * DAY)
    learned = learn_threshold(days, rain, DAY, samples, [DAY, 2 * DAY, 5 * DAY], [DAY, 3 * DAY])
    assert (learned.window_s, learned.lag_s, learned.score.over_mm) == (2 * DAY, DAY, pytest.approx(60.0, abs=8.0))
    assert learned.score.skill > 0.95
    assert learned.cross.skill > 0.9
    assert learned.area > 0.97
    assert len(learned.events_s) >= 10
    assert all(
        a.over_mm > b.over_mm and a.hits <= b.hits for a, b in zip(learned.table, learned.table[1:], strict=False)
    )


def test_rain_that_does_not_matter_has_no_skill_in_years_left_out():
    days, rain, _ = history()
    chance = random.Random(5)
    labels = tuple(chance.random() < 0.01 for _ in days)
    learned = learn_threshold(days, rain, DAY, Samples(tuple(days), labels), [DAY, 5 * DAY], [DAY, 3 * DAY])
    assert learned.score.skill > learned.cross.skill
    assert learned.cross.skill < 0.35


def test_too_few_events_and_events_in_one_year_are_refused():
    days, rain, moved = history(years=6)
    rates = [b - a for a, b in itertools.pairwise(moved)]
    with pytest.raises(TooFewEventsError, match="at least 50"):
        learn_threshold(days, rain, DAY, find_events(days[:-1], rates, 5.0, 5 * DAY), [DAY], [DAY], 50)
    days, rain, moved = history(years=1, seed=3)
    rates = [b - a for a, b in itertools.pairwise(moved)]
    with pytest.raises(TooFewEventsError, match="2 years"):
        learn_threshold(days, rain, DAY, find_events(days[:-1], rates, 5.0, 5 * DAY), [DAY], [DAY], 3)


HEAD = head("s") + station("R1", series("rain", "mm", "1d"))


def write(path, days, rain, moved, quantity="rain_mm"):
    lines = ["time,station,quantity,value"]
    for t, r, m in zip(days, rain, moved, strict=True):
        at = (datetime.fromtimestamp(0, UTC) + timedelta(seconds=t)).isoformat()
        lines += [f"{at},R1,{quantity},{r}", f"{at},G1,displacement_mm,{m}"]
    path.write_text("\n".join(lines))
    series = ["--rain", "R1.rain", "--movement", "G1.displacement"]
    choice = ["--rate-window", "1d", "--fast", "5", "--windows", "1d,2d,5d", "--lags", "1d,3d", "--apart", "5d"]
    return ["sites", "thresholds", "learn", "--data", str(path), *series, *choice]


@pytest.mark.soak
def test_the_command_prints_a_criterion_with_the_learned_predictor(tmp_path, capsys):
    days, rain, moved = history()
    command = write(tmp_path / "slope.csv", days, rain, moved)
    assert run_command([*command, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["n_events"] == len(document["events"])
    assert {"over_mm", "hits", "misses", "false_alarms", "quiet", "skill"} <= set(document["roc"][0])
    site = parse_site(HEAD + document["criterion"], "s.toml")
    (rule,) = site.criteria
    assert (rule.role, rule.author) == ("advice", "slopeward sites thresholds learn")
    assert "years left out" in rule.reason
    # the criterion has the same sum as the learner on each day
    readings = [
        Reading(from_epoch_s(t), from_epoch_s(t), 0, v, 0.0, v, None, ()) for t, v in zip(days, rain, strict=True)
    ]
    predicted = predict_rain(days, rain, DAY, days, document["window_s"], document["lag_s"])
    for i in range(30, 600):
        view = DecisionInputs({"R1.rain": tuple(readings[i - 20 : i + 1])})
        (assessment,) = CRITERIA["rain_learned"].rule(
            rule, DecisionContext(PreparedSite(site), view, Memory(), days[i])
        )
        assert assessment.facts["worst"]["sum_mm"] == pytest.approx(predicted[i])
    assert run_command(command) == 0
    assert "hit rate" in capsys.readouterr().out


def test_the_command_refuses_wrong_arguments_in_one_line(tmp_path, capsys):
    days, rain, moved = history(years=4)
    command = write(tmp_path / "index.csv", days, rain, moved, "rain_index")
    assert run_command([*command, "--json"]) == 3, "a table, but no criterion may use an index"
    answer = capsys.readouterr()
    assert json.loads(answer.out)["criterion"] is None
    command = write(tmp_path / "slope.csv", days, rain, moved)
    for changed, text, code in (
        (["R1.snow" if w == "R1.rain" else w for w in command], "no series 'R1.snow'; there are: R1.rain", 1),
        (["2h" if w == "1d,2d,5d" else w for w in command], "--windows: none is as long", 1),
        (["soon" if w == "5d" else w for w in command], "--apart", 1),
        (["400" if w == "5" else w for w in command], "0 events", 1),
        (["0" if w == "5" else w for w in command], "--fast", 1),
        (["nan" if w == "5" else w for w in command], "--fast", 2),
    ):
        assert run_command(changed) == code, changed
        answer = capsys.readouterr()
        assert text in answer.err
        assert code == 2 or answer.err.count("\n") == 1
    (tmp_path / "bad.csv").write_text("time,station,quantity,value\n2018-01-01T00:00:00Z,R1,rain_mm,much\n")
    assert run_command([str(tmp_path / "bad.csv") if w.endswith("slope.csv") else w for w in command]) == 1
    assert "row 2" in capsys.readouterr().err


def test_annual_maxima_of_complete_years_only(tmp_path, capsys):
    days, rain, moved = history(years=3)
    path = tmp_path / "slope.csv"
    write(path, days[:-200], rain[:-200], moved[:-200])
    command = ["sites", "thresholds", "maxima", "--data", str(path), "--rain", "R1.rain", "--windows", "1d,3d"]
    assert run_command([*command, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    # a reading at midnight is the rain of the day before
    assert document["years"] == [2018, 2019]
    first = [r for t, r in zip(days, rain, strict=True) if datetime.fromtimestamp(t - DAY, UTC).year == 2018]
    assert document["annual_maxima"]["1d"][0] == pytest.approx(max(first), abs=1e-6)
    assert document["annual_maxima"]["3d"][0] >= document["annual_maxima"]["1d"][0]
    assert '"1d" = [' in document["toml"]
    assert run_command([*command, "--min-coverage", "1.0"]) in {0, 4}


def write_rain(path, cells, every_s=DAY):
    begin = datetime(2018, 1, 1, tzinfo=UTC)
    rows = [f"{begin + timedelta(seconds=k * every_s):%Y-%m-%dT%H:%M:%SZ},R1,rain_mm,{v}" for k, v in cells]
    path.write_text("\n".join(["time,station,quantity,value", *rows]) + "\n")


@pytest.mark.parametrize("fill", [999.9, -99.9, 8888.0])
def test_maxima_leave_out_what_is_no_rain_and_say_so(tmp_path, capsys, fill):
    chance = random.Random(4)
    rain = [round(chance.expovariate(0.2), 1) if chance.random() < 0.4 else 0.0 for _ in range(800)]
    path = tmp_path / "rain.csv"
    holes = set(chance.sample(range(800), 20))
    command = ["sites", "thresholds", "maxima", "--data", str(path), "--rain", "R1.rain", "--windows", "1d", "--json"]
    write_rain(path, [(k, fill if k in holes else v) for k, v in enumerate(rain)])
    assert run_command(command) == 0
    answer = capsys.readouterr()
    document = json.loads(answer.out)
    assert f"{fill:g} mm is no amount of rain: 20 readings left out" in answer.err
    assert document["left_out"] == {f"{fill:g} mm": 20}
    assert max(document["annual_maxima"]["1d"]) <= max(rain)
    write_rain(path, [(k, "T" if k in holes else v) for k, v in enumerate(rain)])
    assert run_command(command) == 0
    assert max(json.loads(capsys.readouterr().out)["annual_maxima"]["1d"]) <= max(rain)


def test_maxima_of_a_running_sum_are_those_of_what_it_rose_by(tmp_path, capsys):
    chance = random.Random(4)
    rain = [round(chance.expovariate(0.2), 1) if chance.random() < 0.4 else 0.0 for _ in range(800)]
    path = tmp_path / "rain.csv"
    command = f"sites thresholds maxima --data {path} --rain R1.rain --windows 1d,3d --json".split()
    write_rain(path, list(enumerate(rain)))
    assert run_command(command) == 0
    right = json.loads(capsys.readouterr().out)["annual_maxima"]
    write_rain(path, [(k, round(sum(rain[: k + 1]), 1)) for k in range(800)])
    assert run_command(command) == 1
    assert "--stamp counter" in capsys.readouterr().err
    assert run_command([*command, "--stamp", "counter"]) == 0
    document = json.loads(capsys.readouterr().out)["annual_maxima"]
    for window, maxima in right.items():
        assert document[window] == pytest.approx(maxima, abs=1e-6)
    twice = sorted([*enumerate(rain), *((k + 0.01, v) for k, v in enumerate(rain))])
    write_rain(path, twice)
    assert run_command(command) == 0
    answer = capsys.readouterr()
    assert "800 sums of intervals that have one already" in answer.err
    assert json.loads(answer.out)["annual_maxima"] == right
