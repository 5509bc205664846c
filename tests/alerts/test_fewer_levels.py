"""A site file with fewer levels than before: the stored levels are limited to those that the file still has."""

import pytest

from monitor.alerts.acts.operator_acts import load_memory, set_level
from monitor.sites.parsing import parse_site
from monitor.storage.actor import Actor
from tests.data.store_rows import ask
from tests.data.watched_slope import SITE_TEXT, WatchedSlope, recompute_every

THREE_LEVELS = (
    SITE_TEXT.replace('"orange", "red"]', '"red"]')
    .replace('orange = {over = 24.0, window = "12h"}\n', "")
    .replace('levels = ["orange", "red"]', 'levels = ["red"]')
)
TWO_LEVELS = THREE_LEVELS.replace('"yellow", "red"]', '"red"]').replace('yellow = {over = 6.0, window = "1d"}\n', "")


def raise_to_red(slope, by):
    """Raise the level to the highest of four, by velocity or by a jump of two stations."""
    if by == "velocity":
        return slope.fail()
    slope.live(60, looks=1)
    for station in slope.position:
        slope.position[station] += 300.0
    return slope.live(4)


@pytest.mark.parametrize("by", ["velocity", "jump"])
@pytest.mark.parametrize("text", [THREE_LEVELS, TWO_LEVELS], ids=["three", "two"])
def test_site_is_evaluated_after_its_file_lost_levels(database, text, by):
    slope = WatchedSlope(database)
    assert raise_to_red(slope, by).level == 3
    slope.take(parse_site(text, "bench.toml"))
    assert slope.live(3).level == slope.site.top_level
    assert ask(database, recompute_every) == []


@pytest.mark.parametrize("text", [THREE_LEVELS, TWO_LEVELS], ids=["three", "two"])
def test_level_is_set_before_the_first_evaluation_with_fewer_levels(database, text):
    slope = WatchedSlope(database)
    raise_to_red(slope, "jump")
    site = parse_site(text, "bench.toml")
    slope.take(site)
    for level in range(site.top_level, -1, -1):
        before = set_level(database, site, level, Actor("Ada"), "inspected on foot", slope.now)
        assert before == min(level + 1, site.top_level)
        memory = ask(database, load_memory, site)
        assert memory.level == level
        if level == site.top_level:
            assert (memory.floor, memory.answered) == (level, {}), "votes for the same level are not answered"
    assert ask(database, recompute_every) == []
