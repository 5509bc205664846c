"""The criterion `forecast`: which forecasts count, the chance it asks for, what it says and what it takes back."""

import math
from dataclasses import replace

import pytest

from monitor.alerts.acts.loosening import find_loosening
from monitor.canonical import canonical_json
from monitor.decision.prepared_site import PreparedSite
from monitor.decision.records import DecisionInputs, ForecastFact, Memory
from monitor.decision.series.assessment import DecisionContext
from monitor.errors import ConfigError
from monitor.sites.criteria.registry import load_criteria
from monitor.sites.parsing import find_cautions, parse_site
from monitor.sites.records import Criterion, Threshold
from monitor.text.rendering import translate
from monitor.web.parts.collect import describe_rules
from tests.data.criteria import KINDS
from tests.data.site_text import criterion, head, series, station
from tests.property.alerting_histories import DAY_S, SITE, STEP_S, levels, run, seeded

NOW_S = 1.8e9
YELLOW = 'yellow = {over = 10.0, window = "1d", probability = 0.3}'


def fact(middle, half=6.0, quantity="displacement", days=1.0, **more):
    """A forecast of so much motion, even to both sides: `half` to the 10 and 90 % quantiles."""
    outer = half * 1.959964 / 1.281552
    values = {"q025": -outer, "q10": -half, "q50": 0.0, "q90": half, "q975": outer}
    given = {"station": "A", "quantity": quantity, "data_value": 100.0, "model": "combined", "shown": True}
    given |= {"data_until_s": NOW_S - 3600.0, "target_s": NOW_S + days * DAY_S - 3600.0, "horizon_s": days * DAY_S}
    return ForecastFact(**given | {k: 100.0 + middle + v for k, v in values.items()} | more)


def read(bounds=YELLOW, more=""):
    place = head("slope", forecast={"horizons": ["1d", "7d"]}) + station("A") + f"{more}\n"
    rule = criterion("forecast", id="f", stations=["A"]) + bounds
    return parse_site(place + series("displacement", "mm", "6h") + rule, "site.toml")


def ask(facts, site=None):
    site = site or read()
    criterion = next(c for c in site.criteria if c.id == "f")
    context = DecisionContext(PreparedSite(site), DecisionInputs(forecasts=tuple(facts)), Memory(), NOW_S)
    (assessment,) = load_criteria()["forecast"].rule(criterion, context)
    return assessment


def test_level_is_raised_by_the_chance_and_not_by_the_median():
    assert ask([fact(8.0)]).raise_level == 1, "the median is below, more than 10 mm/day has a chance of 33 %"
    assert ask([fact(6.0)]).raise_level == 0
    word = ask([fact(8.0)], read('yellow = {over = 10.0, window = "1d"}'))
    assert word.raise_level == 0, "a site file that names no chance asks the median, as it always did"
    assert ask([fact(10.1)], read('yellow = {over = 10.0, window = "1d"}')).raise_level == 1


def test_reason_has_chance_quantiles_and_distribution_with_units():
    word = ask([fact(8.0)])
    assert word.reason == (
        "33 % chance of more than 10 mm/day within 1d; the bound is crossed above 30 %; "
        "forecast velocity 8.00 mm/day, 80 % interval 2.00 to 14.00 mm/day"
    )
    (said,) = word.facts["bounds"]
    assert said["velocity_mm_per_day"] == pytest.approx(
        {"q025": -1.176, "q10": 2.0, "q50": 8.0, "q90": 14.0, "q975": 17.176}, abs=1e-3
    )
    assert (said["over_mm_per_day"], said["window_s"], said["probability"]) == (10.0, DAY_S, 0.3)
    assert said["chance_from"] == said["chance_to"] == pytest.approx(0.3346, abs=1e-4)
    assert word.facts["distribution"].startswith("lines between the quantiles in normal scores")
    canonical_json(word.facts)
    assert ask([fact(60.0)]).reason.startswith("at least 97.5 % chance of more than 10 mm/day within 1d")
    assert ask([fact(-60.0)]).reason.startswith("at most 2.5 % chance of more than 10 mm/day within 1d")


def test_only_shown_future_forecasts_of_the_horizon_count_and_none_lowers_nothing():
    others = (fact(30.0, shown=False), fact(210.0, days=7.0), fact(30.0, station="B"), fact(30.0, target_s=NOW_S))
    for silent in ([], *([one] for one in others)):
        word = ask(silent)
        assert (word.raise_level, word.has_data, word.reason) == (0, False, "no forecast is available for this station")
    site = read(f'{YELLOW}\norange = {{over = 20.0, window = "7d"}}')
    quiet, far = fact(0.0), fact(0.0, days=7.0)
    assert (ask([quiet, far], site).raise_level, ask([quiet, far], site).hold_level) == (0, 0)
    assert ask([quiet], site).hold_level == 2, "nobody knows about the week: it may end within it"
    assert ask([far], site).hold_level == 1
    # nor does one that has not come back through its share of the bound
    assert ask([fact(6.0), far], site).hold_level == 1


def test_east_and_north_are_joined_downslope():
    site = read(more="azimuth_deg = 205.0")
    along = math.radians(205.0)
    east, north = (
        fact(30.0 * way, 3.0, f"displacement_{q}") for way, q in ((math.sin(along), "east"), (math.cos(along), "north"))
    )
    word = ask([east, north], site)
    (said,) = word.facts["bounds"]
    assert said["velocity_mm_per_day"]["q50"] == pytest.approx(30.0), "no axis by itself moves that way"
    half = 3.0 * (abs(math.sin(along)) + abs(math.cos(along)))
    assert (said["velocity_mm_per_day"]["q90"], word.raise_level) == (pytest.approx(30.0 + half), 1)
    turned = {"q025": "q975", "q10": "q90", "q50": "q50", "q90": "q10", "q975": "q025"}
    upslope = [replace(f, **{q: 200.0 - getattr(f, m) for q, m in turned.items()}) for f in (east, north)]
    assert ask(upslope, site).raise_level == 0
    assert not ask([east], site).has_data, "one axis alone does not say how the slope moves"
    (named,) = (replace(c, quantity="displacement_east") for c in site.criteria if c.id == "f")
    assert ask([east, north], replace(site, criteria=(named,))).raise_level == 0, "towards the east, as the file says"
    assert ask([upslope[0], north], replace(site, criteria=(named,))).raise_level == 1


def test_probability_is_read_or_refused_and_a_higher_one_loosens():
    site = read(f'{YELLOW}\nred = {{over = 10.0, window = "1d", probability = 0.9}}')
    criterion = next(c for c in site.criteria if c.id == "f")
    assert [t.probability for t in criterion.thresholds] == [0.3, 0.9]
    assert read('yellow = {over = 10.0, window = "1d"}').criteria[0].thresholds[0].probability == 0.5
    for wrong in (0.01, 0.99):
        with pytest.raises(ConfigError, match="probability"):
            read(f'yellow = {{over = 10.0, window = "1d", probability = {wrong}}}')

    def site(chance):
        return read(f'role = "witness"\nred = {{over = 10.0, window = "1d", probability = {chance}}}')

    assert find_loosening(site(0.3), site(0.5)) == ("criterion f, level 3 (red): probability changes from 0.3 to 0.5",)
    assert find_loosening(site(0.5), site(0.3)) == ()


def test_check_explains_probabilities_and_the_page_shows_the_chance():
    plain = read()
    assert not [line for line in find_cautions(plain) if "criterion f" in line]
    with pytest.raises(ConfigError, match="the kind 'forecast' has no key 'dwell'"):
        read(f"dwell = {{hits = 2, of = 3}}\n{YELLOW}")
    (rule,) = [rule for rule in describe_rules(plain) if rule["id"] == "f"]
    assert rule["bounds"] == ["yellow over 10 mm/day in 1d with a chance of more than 30 %"]
    assert (
        translate(rule["bounds"][0], "es") == "amarillo por encima de 10 mm/day en 1d con probabilidad superior al 30 %"
    )


def forecasting(chance, role="witness"):
    """The slope of the laws with a forecast that may speak for every level."""
    bounds = tuple(
        Threshold(k, over=o, window_s=DAY_S, probability=chance) for k, o in ((1, 4.0), (2, 16.0), (3, 60.0))
    )
    c = Criterion("f", KINDS["forecast"], ("A", "B"), "displacement", bounds, valid_for_s=3 * DAY_S, role=role)
    return replace(SITE, criteria=(*SITE.criteria, c))


def swing(now_s, inputs):
    """Forecasts that come and go, some wild, some of a slope at rest while it moves."""
    turn = int(now_s // STEP_S)
    middle = (0.0, 10.0, 90.0, -50.0, 20.0)[turn % 5]
    until = {"data_until_s": now_s - 60.0, "target_s": now_s - 60.0 + DAY_S}
    made = [fact(middle, 1.0 + turn % 7, station=s, **until) for s in ("A", "B")]
    return replace(inputs, forecasts=tuple(made) if turn % 4 else ())


@pytest.mark.soak
def test_forecast_lowers_no_level_and_a_higher_probability_raises_no_vote():
    raised = 0
    for seed in (6, 7):
        history = seeded(seed)
        without = levels(run(history))
        looks = {chance: run(history, forecasting(chance), alter=swing) for chance in (0.1, 0.5, 0.9)}
        for found in looks.values():
            assert all(now >= was for now, was in zip(levels(found), without, strict=True))
        for easy, hard in ((0.1, 0.5), (0.5, 0.9)):
            assert all(a >= b for a, b in zip(levels(looks[easy]), levels(looks[hard]), strict=True))
        raised += sum(a > b for a, b in zip(levels(looks[0.1]), without, strict=True))
        advice = run(history, forecasting(0.1, "advice"), alter=swing)
        assert levels(advice) == without, "advice moves no level"
    assert raised > 0
