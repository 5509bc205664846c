"""The comparison with a recording finds differences, allows rounding errors, and omits accepted differences."""

import copy
import json
from datetime import UTC, datetime

import pytest

from tests.recording.compare import compare, encode, read_accepted
from tests.recording.record import nest, unnest

START_S = 1.7e9


def draw_rows(looks=40):
    """Return rows of a site whose level rises at look 25, with two changing rates and a due time."""
    return [
        (
            "bench",
            START_S + 3600.0 * k,
            {
                "level": int(k >= 25),
                "due_s": START_S + 3600.0 * (k + 2),
                "change": {"hazard": {"open": True, "data_time": "2026-03-01T06:00:00.000000Z"}} if k == 25 else {},
                "word": {"v G1": {"bounds": [{"rate": 0.1 + k / 7.0, "hits": k % 3}, {"rate": 0.1 + k / 7.0}]}},
                "asked": None,
            },
        )
        for k in range(looks)
    ]


def differ(rows):
    kept = json.loads(json.dumps(nest(encode(draw_rows()))))
    return [str(d) for d in compare("slope", unnest(kept), rows)]


def altered(look, alter):
    rows = copy.deepcopy(draw_rows())
    alter(rows[look][2])
    return rows


def test_equal_rows_have_no_difference():
    assert differ(draw_rows()) == []


def test_different_level_is_reported_with_site_time_and_figure():
    differences = differ(altered(11, lambda f: f.update(level=2)))
    assert differences == ["slope: bench at 2023-11-15T09:13:20: level: 0 was kept, 2 now"]


@pytest.mark.parametrize(
    ("alter", "figure"),
    [
        (lambda f: f.update(due_s=f["due_s"] + 0.002), "due_s"),
        (lambda f: f.update(asked=0), "asked"),
        (lambda f: f["word"]["v G1"]["bounds"][0].update(hits=7), "word/v G1/bounds/0/hits"),
        (lambda f: f["word"]["v G1"]["bounds"][1].update(rate=None), "word/v G1/bounds/1/rate"),
        (lambda f: f.update(floor=1), "floor"),
    ],
)
@pytest.mark.parametrize("look", [0, 10, 25, 39])
def test_exact_figures_are_compared_at_every_look(alter, figure, look):
    (difference,) = differ(altered(look, alter))
    at = datetime.fromtimestamp(START_S + 3600.0 * look, UTC)
    assert difference.startswith(f"slope: bench at {at:%Y-%m-%dT%H:%M:%S}: {figure}: ")


@pytest.mark.parametrize(("look", "least"), [(0, 2e-6), (25, 2e-6), (10, 5e-5), (38, 5e-5)])
def test_figures_are_compared_to_a_millionth_and_by_sum_between_stored_looks(look, least):
    def scale(by):
        return altered(look, lambda f: f["word"]["v G1"]["bounds"][0].update(rate=(0.1 + look / 7.0) * (1.0 + by)))

    assert differ(scale(0.99e-6)) == []
    (difference,) = differ(scale(least))
    assert "word/v G1/bounds/0/rate" in difference


def test_additional_or_missing_look_is_reported():
    assert "no look was kept" in differ(draw_rows(41))[0]
    assert differ(draw_rows(39))[0].endswith("no look now")


def test_accepted_line_hides_only_its_own_figure():
    rows = altered(11, lambda f: f.update(level=2, due_s=0.0))
    differences = list(compare("slope", encode(draw_rows()), rows))
    (line,) = read_accepted("# why\n\nslope | lev* | levels are counted from two\n")
    assert [d.figure for d in differences if not line.covers(d)] == ["due_s"]
    assert not read_accepted("other | level | another record")[0].covers(differences[0])
    with pytest.raises(ValueError, match="reason"):
        read_accepted("slope | level |")


def test_text_in_a_recording_is_refused():
    with pytest.raises(ValueError, match="prose"):
        encode(altered(3, lambda f: f.update(reason="it moves")))
