"""Networks in the average: a share comes of scored errors that were known, and a bad network costs next to nothing."""

from dataclasses import replace

import numpy as np
import pytest

from forecasting.data.series import DAY_S, Panel
from forecasting.serving.members import compute_network_weights, join_networks
from forecasting.serving.records import Limits, ScoredError
from tests.data.forecast_rows import row

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


@pytest.mark.turns
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
        assert "with networks, weights by their scored errors: gru" in after.reason
    held = join_networks(panel, rows, here, {STATIONS[2]: Limits(high=0.1)})
    assert max(r.q50 for r in held if r.model == "auto") <= 0.1
    twice = join_networks(panel, held, here, {STATIONS[2]: Limits(high=0.1)})
    assert max(r.reason.count("a physical bound") for r in twice) == 1
    outside = [replace(r, outside=r.model == "gru") for r in rows]
    assert all("gru" not in r.reason for r in join_networks(panel, outside, here, {}) if r.model == "auto")
