"""The page of forecasts."""

from hypothesis import given
from hypothesis import strategies as st

from monitor.features.forecasts.routes import gather_lacks


@given(
    st.lists(
        st.tuples(*(st.sampled_from(k) for k in ("AB", ("gru", "lstm"), ("", "rows"), (None, "2026-12-10T03:00:00Z")))),
        max_size=12,
    )
)
def test_what_lacks_the_same_is_one_line_and_nothing_is_left_out(drawn):
    rows = [
        {
            "station": s,
            "quantity": "displacement",
            "model": m,
            "horizon_s": None,
            "lacking": k,
            "reason": "r",
            "earliest_at": day,
        }
        for s, m, k, day in drawn
    ]
    lines = gather_lacks(rows)
    assert len(lines) == len({(k, day) for _, _, k, day in drawn})
    for s, m, k, day in drawn:
        [line] = [one for one in lines if (one["lacking"], one["earliest_at"]) == (k, day)]
        assert s in line["series"]
        assert m in line["models"]
