"""Changes of single bounds in a site file: everything else stays unchanged, and invalid figures are refused."""

import pytest

from monitor.alerts.acts.bound_edits import change_fields, list_fields
from monitor.errors import RefusedError
from monitor.sites.parsing import parse_site
from tests.data.watched_slope import SITE_TEXT
from tests.tables import tabulated

COMMENTED = SITE_TEXT.replace('window = "8h"}', 'window = "8h"}   # after the fall of 2019').replace("80.0", "80.50")
SITE = parse_site(COMMENTED, "bench.toml")


def test_each_figure_of_a_criterion_is_a_field_and_only_changed_figures_differ():
    (one,) = list_fields(SITE)
    shown = {f.key: (f.words, f.value, f.unit, f.is_duration) for f in one.fields}
    assert shown["0.red.over"] == ("red, over", "80.5", "mm/day", False)
    assert shown["0.red.window"] == ("red, window", "8h", "", True)
    assert shown["0.dwell.hits"] == ("dwell, hits", "2", "", False)
    assert shown["0.recover"] == ("recover", "0.6", "", False)
    assert not {"0.author", "0.reason", "0.kind", "0.quantity"} & set(shown)
    text = change_fields(SITE, {"0.red.over": "90", "0.yellow.over": "6", "0.dwell.hits": "3"}, "bo", "noise is lower")
    want = COMMENTED.replace("over = 80.50", "over = 90.0").replace("hits = 2", "hits = 3")
    want = want.replace('"A. Rossi"', '"bo"').replace('"record of 2022 to 2025"', '"noise is lower"')
    assert text == want
    assert "# after the fall of 2019" in text
    assert change_fields(SITE, {"0.red.over": "90,5"}, "bo", "x").count("over = 90.5") == 1, "a comma is read"
    hostile = change_fields(SITE, {"0.red.over": "90"}, 'b"o', 'x"\n[[recipient]]\nname = "spy"')
    assert [r.name for r in parse_site(hostile, "x").recipients] == ["duty engineer"], "a reason is text, no table"


@tabulated(
    ("values", "words"),
    [
        ({"0.red.over": "much"}, "expected a number"),
        ({"0.red.over": "inf"}, "expected a number"),
        ({"0.red.over": "1,000"}, "'1,000' can mean 1000 or 1.000"),
        ({"0.red.over": " -12,345 "}, "can mean -12345 or -12.345"),
        ({"7.red.over": "1"}, "no longer has the bound"),
        ({"0.author": "eve"}, "no longer has the bound"),
        ({}, "nothing was changed"),
        ({"0.red.over": " 80.5 "}, "nothing was changed"),
    ],
)
def test_invalid_figures_are_refused_in_one_line(values, words):
    with pytest.raises(RefusedError, match=words):
        change_fields(SITE, values, "bo", "why")
