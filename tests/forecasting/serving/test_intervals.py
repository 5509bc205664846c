"""Scores, adaptive conformal intervals, fans, and the forecast that is shown.
Networks in the average: a share comes of scored errors that were known, and a bad network costs next to nothing.
"""

import json
from dataclasses import replace

import numpy as np
import pytest

from forecasting.data.series import DAY_S, Panel
from forecasting.metrics import coverage, mae, pinball, rmse, skill, winkler
from forecasting.serving.conformal import WINDOW, ConformalState, margin, replay, score, update
from forecasting.serving.members import compute_network_weights, join_networks
from forecasting.serving.quantiles import conform, repeat_point, widen
from forecasting.serving.records import Limits, ScoredError
from forecasting.serving.shown import choose_shown
from monitor.text.reasons import convert_reason
from tests.data.forecast_rows import REASON, row


def test_scores_on_small_numbers():
    error = np.array([1.0, -3.0, np.nan])
    assert (mae(error), rmse(error)) == (2.0, pytest.approx(np.sqrt(5.0)))
    assert (pinball(error, 0.9), skill(1.0, 2.0)) == (pytest.approx((0.9 + 0.3) / 2), 0.5)
    assert np.isnan(skill(1.0, 0.0))
    assert np.isnan(mae(np.array([np.nan])))
    low, high = np.array([0.0, 0.0]), np.array([2.0, 2.0])
    assert winkler(low, high, np.array([1.0, 3.0]), 0.8) == pytest.approx((2 + 2 + 10 * 1) / 2)
    seen = np.array([[0.5, 2], [0.5, 2], [0.5, 0.5], [0.5, np.nan]])
    hit, worst = coverage(np.zeros((4, 2)), np.ones((4, 2)), seen, minimum=2)
    assert (hit, worst) == (pytest.approx(5 / 7), pytest.approx(1 / 3))


def test_replay_equals_one_update_at_a_time():
    rng = np.random.default_rng(4)
    observed = rng.normal(0, np.linspace(1, 3, 700)[:, None], (700, 2))
    observed[rng.random(observed.shape) < 0.1] = np.nan
    for h in (1, 7):
        ((margins, states),) = replay(np.abs(observed), steps=h, nominals=(0.8,))
        for s in range(2):
            state, issued = ConformalState.fresh(0.8, h), []
            for t in range(700):
                if t >= h and np.isfinite(observed[t - h, s]):
                    value = score(0.0, 0.0, observed[t - h, s])
                    covered = bool(value <= issued[t - h]) if np.isfinite(issued[t - h]) else None
                    if covered is None:  # warm-up: nothing was issued, so the level does not move
                        state = ConformalState(
                            state.nominal, state.gamma, state.alpha, (*state.scores, value)[-WINDOW:], state.n + 1
                        )
                    else:
                        state = update(state, value, covered=covered)
                issued.append(margin(state, h))
            np.testing.assert_allclose(issued, margins[:, s], atol=1e-12)
            assert (state.alpha, state.scores) == (pytest.approx(states[s].alpha, abs=1e-12), states[s].scores)
            assert state.n == states[s].n


@pytest.mark.parametrize("h", [1, 7])
def test_coverage_holds_through_a_change_of_noise(h):
    rng = np.random.default_rng(8)
    sigma = np.where(np.arange(1500) < 700, 1.0, 3.0)[:, None]
    observed = rng.normal(0, sigma, (1500, 4))
    slack = 0.03
    both = replay(np.abs(observed), steps=h, nominals=(0.8, 0.95))
    for nominal, (margins, states) in zip((0.8, 0.95), both, strict=True):
        # what is ranked once for both levels is what each would have found alone
        ((alone, own),) = replay(np.abs(observed), steps=h, nominals=(nominal,))
        np.testing.assert_array_equal(alone, margins)
        assert own == states
        hit, worst = coverage(-margins[300:], margins[300:], observed[300:])
        assert abs(hit - nominal) < slack
        assert worst > nominal - 2 * slack


def test_no_feedback_arrives_before_its_target():
    rng = np.random.default_rng(9)
    observed = rng.normal(size=(300, 1))
    changed = observed.copy()
    changed[200:] = 1e6  # targets of origins from 200 on are known from row 207 on
    (a, _), (b, _) = (replay(np.abs(one), steps=7, nominals=(0.8,))[0] for one in (observed, changed))
    np.testing.assert_array_equal(a[:207], b[:207])
    assert (a[207:] != b[207:]).any()


def test_a_too_wide_model_is_not_shrunk_when_it_misses():
    state = ConformalState(0.95, 0.03, 0.05, tuple(np.linspace(-10.0, -2.0, 250)), 250)
    margins = [margin(state)]
    for _ in range(60):
        state = update(state, -1.0, covered=False)
        margins.append(margin(state))
    assert state.alpha < 0
    assert np.all(np.diff(margins[:6]) > 0)
    # widened by one spread of the scores, and kept there
    assert min(margins[5:]) > 5.0


def test_what_an_event_leaves_behind_is_bounded():
    """Feedback that comes a month late goes on missing after the event; the level must not fall without end."""
    quiet, event = np.ones((200, 1)), np.full((60, 1), 50.0)
    observed = np.concatenate([quiet, event, quiet]) * np.where(np.arange(460) % 2, 1.0, -1.0)[:, None]
    ((margins, (state,)),) = replay(np.abs(observed), steps=30, nominals=(0.8,))
    assert np.nanmax(margins) <= 50.0 + 49.0
    assert state.alpha >= -0.2
    down = ConformalState.fresh(0.8, 30)
    for _ in range(500):
        down = update(down, 1.0, covered=False)
    assert down.alpha == pytest.approx(-0.2)
    for _ in range(101):
        down = update(down, 1.0, covered=True)
    assert down.alpha >= 0.0


def test_state_survives_text():
    state = ConformalState.fresh(0.8, 1)
    assert np.isnan(margin(state))
    for value in np.random.default_rng(1).normal(size=WINDOW + 20):
        state = update(state, abs(value))
    assert (len(state.scores), ConformalState.from_json(json.loads(json.dumps(state.to_json())))) == (WINDOW, state)
    assert update(state, float("nan")) is state


def test_fans_never_cross():
    rng = np.random.default_rng(6)
    values = np.cumsum(rng.normal(size=(300, 2)), axis=0)
    origins = np.arange(300)
    fan = np.sort(rng.normal(0, 5, (300, 2, 5)), axis=-1) + values[..., None]
    out = widen(fan, conform(fan, values, origins, 7).margins)
    ready = np.isfinite(out).all(axis=-1)
    assert ready.sum() > 400
    assert (np.diff(out[ready], axis=-1) >= 0).all()
    np.testing.assert_array_equal(out[..., 2], fan[..., 2])
    assert np.ptp(repeat_point(values), axis=-1).max() == 0


def shown(rows):
    return [(r.station, r.horizon_s, r.model) for r in rows if r.shown]


def test_exactly_one_row_is_shown():
    rows = [row("persistence"), row("auto"), row("lld"), row("lstm", shown=False)]
    out = choose_shown(rows)
    assert shown(out) == [("A", 86400.0, "auto")]
    assert (convert_reason(out[2].reason), out[3].reason) == ("not shown: auto is the forecast of this horizon", REASON)
    assert rows[0].shown, "the input is left alone"


def test_baselines_take_over_in_their_order():
    own = row("gru", shown=False)
    assert shown(choose_shown([own, row("persistence"), row("lld"), row("auto")])) == [("A", 86400.0, "auto")]
    assert shown(choose_shown([own, row("persistence"), row("lld")])) == [("A", 86400.0, "lld")]
    assert shown(choose_shown([row("seasonal"), row("persistence")])) == [("A", 86400.0, "persistence")]
    assert shown(choose_shown([row("seasonal"), own])) == [("A", 86400.0, "seasonal")]
    two = choose_shown([row("lld"), row("lld", station="B"), row("lld", horizon_s=60.0), row("auto", station="B")])
    assert sorted(shown(two)) == [("A", 60.0, "lld"), ("A", 86400.0, "lld"), ("B", 86400.0, "auto")]


STATIONS = ("A.displacement_east", "A.displacement_north", "B.crack_opening")
NETWORKS = ("graph-gru", "gru", "lstm")
ROWS, AHEAD = 240, (1, 7)
KEYS = {(s, h * DAY_S, n) for s in STATIONS for h in AHEAD for n in NETWORKS}


def draw_panel(seed: int) -> Panel:
    moved = np.random.default_rng(seed).normal(0.3, 1.0, (ROWS, len(STATIONS))).cumsum(axis=0)
    return Panel(0.0, DAY_S, STATIONS, moved)


def draw_scored(seed: int, sizes=(1.0, 0.5, 2.0), every: int = 1) -> list[ScoredError]:
    """Errors of networks of these sizes beside those of an average of size 1."""
    rng, out = np.random.default_rng(seed), []
    for at in range(40, ROWS, every):
        for station in STATIONS:
            for h in AHEAD:
                simple = rng.normal()
                for name, size in zip(NETWORKS, sizes, strict=True):
                    out.append(ScoredError(station, name, h * DAY_S, at * DAY_S, size * rng.normal(), simple))
    return out


def known_by(scored: list[ScoredError], last: int) -> list[ScoredError]:
    return [one for one in scored if one.issued_s + one.horizon_s <= last * DAY_S]


@pytest.mark.parametrize("seed", range(6))
def test_a_share_rests_on_what_was_known_at_its_issue_bit_for_bit(seed: int) -> None:
    panel, scored, asked = draw_panel(seed), draw_scored(seed, every=1 + seed % 4), sorted({h * DAY_S for h in AHEAD})
    for last in (90, 133, 200):
        head, known = panel.head(last + 1), known_by(scored, last)
        after = [s if s.issued_s + s.horizon_s <= last * DAY_S else replace(s, error=1e6 * s.error) for s in scored]
        told = compute_network_weights(head, known, asked, KEYS)
        assert all(compute_network_weights(head, one, asked, KEYS) == told for one in (scored, after))
        older = known_by(scored, last - 20)
        assert told != compute_network_weights(head, older, asked, KEYS), "what is known is read"


@pytest.mark.parametrize("every", [1, 5])
@pytest.mark.parametrize("seed", range(4))
def test_the_better_network_leads_and_a_bad_one_has_next_to_nothing(seed: int, every: int) -> None:
    panel, asked = draw_panel(seed), [h * DAY_S for h in AHEAD]
    shares = compute_network_weights(panel, draw_scored(seed, every=every), asked, KEYS)
    for (station, _), mine in shares.items():
        assert mine["gru"] > 0.5, station
        assert mine.get("lstm", 0.0) < 0.02
    bad = compute_network_weights(panel, draw_scored(seed, (2.0, 3.0, 2.0), every), asked, KEYS)
    assert max((sum(mine.values()) for mine in bad.values()), default=0.0) < 0.1
    east, north = (shares[s, DAY_S] for s in STATIONS[:2])
    assert east == north, "components of one motion obey one choice"


def test_few_scored_issues_move_little_and_overlapping_ones_are_no_more_evidence() -> None:
    panel, scored = draw_panel(1), draw_scored(1)
    few = [one for one in scored if one.issued_s >= (ROWS - 12) * DAY_S]
    shares = compute_network_weights(panel, few, [DAY_S, 7 * DAY_S], KEYS)
    assert {h for _, h in shares} == {DAY_S}, "five issues of 7 d are not four spans of it"


def make_rows() -> list:
    fan = {"q025": -2.0, "q10": -1.0, "q50": 0.0, "q90": 1.0, "q975": 2.0}
    out = []
    for station in STATIONS:
        for h in AHEAD:
            facts = {"issued_s": (ROWS - 1) * DAY_S, "target_s": (ROWS - 1 + h) * DAY_S}
            facts["data_until_s"] = facts["issued_s"]
            for name, at in (("auto", 0.0), ("gru", 0.4), ("lstm", 0.8)):
                made = {q: value + at for q, value in fan.items()}
                out.append(replace(row(name, station, h * DAY_S), **facts, **made))
    return out


def test_without_scores_rows_are_the_same_and_with_them_auto_alone_moves() -> None:
    level = np.random.default_rng(0).normal(0.0, 0.3, (ROWS, len(STATIONS)))
    panel, rows = Panel(0.0, DAY_S, STATIONS, level), make_rows()
    assert all(a is b for a, b in zip(rows, join_networks(panel, rows, [], {}), strict=True))
    here = [one for one in draw_scored(3) if one.station == STATIONS[2]]
    moved = join_networks(panel, rows, here, {})
    for before, after in zip(rows, moved, strict=True):
        if before.model != "auto" or before.station != STATIONS[2]:
            assert after is before
            continue
        others = {key for key in KEYS if key[2] != "graph-gru"}
        shares = compute_network_weights(panel, here, [h * DAY_S for h in AHEAD], others)
        mine = shares[after.station, after.horizon_s]
        assert (after.q50, after.weight) == (pytest.approx(0.4 * mine["gru"] + 0.8 * mine["lstm"]), sum(mine.values()))
        assert (after.q90 - after.q50, after.baseline_q50) == (pytest.approx(1.0), before.baseline_q50)
        assert "with networks, weights by their scored errors: gru" in convert_reason(after.reason)
    held = join_networks(panel, rows, here, {STATIONS[2]: Limits(high=0.1)})
    assert max(r.q50 for r in held if r.model == "auto") <= 0.1
    twice = join_networks(panel, held, here, {STATIONS[2]: Limits(high=0.1)})
    assert max(convert_reason(r.reason).count("a physical bound") for r in twice) == 1
    outside = [replace(r, outside=r.model == "gru") for r in rows]
    assert all(
        "gru" not in convert_reason(r.reason) for r in join_networks(panel, outside, here, {}) if r.model == "auto"
    )
