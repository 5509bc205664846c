"""The helper that finds numbers without a unit in messages and pages (`tests/data/figures.py`) works."""

from tests.data.figures import bare_figures, bare_figures_of_page


def test_a_number_without_its_unit_is_found():
    assert len(bare_figures("velocity 31.27 ± 2.37 mm/day in 2d, over 20 in 4 data epochs, 3 needed")) == 1
    assert bare_figures("rate-1 E1: rate of crack_opening 45.35 ± 0.41 mm/day in 12h, over 20 mm/day") == []
    assert len(bare_figures("step of 7.6 in E1, bound 80")) == 2
    assert bare_figures("level 2 of 3 since 2026-03-01 06:00 UTC, alert 7, slopeward 0.1.0.dev3") == []


def test_the_heading_of_a_column_gives_the_unit_of_its_cells():
    page = "<table><thead><tr><th>{}</th><th>Level</th></tr></thead><tr><td>{}</td><td>2</td></tr></table>"
    assert bare_figures_of_page(page.format("Velocity mm/day", "31.2")) == []
    assert bare_figures_of_page(page.format("Velocity", "31.2 mm/day")) == []
    assert bare_figures_of_page(page.format("Velocity", "31.2")) == ["Velocity: 31.2"]
    assert bare_figures_of_page("<p>moves <b>31.2</b> now</p><pre>9</pre>") == ["moves 31.2 now"]
