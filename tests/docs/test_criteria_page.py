"""docs/reference/criteria.md lists every kind of criterion with its keys."""

import re

import pytest

from monitor.sites.criteria.registry import load_criteria
from monitor.sites.criteria.sections import CriterionTable
from tests.fixtures.waiting import REPOSITORY

PAGE = (REPOSITORY / "docs/reference/criteria.md").read_text(encoding="utf-8")
ROWS = [line.strip("|").split("|") for line in PAGE.splitlines() if line.startswith("|")]
# Keys that several kinds have, with the text of the column `kinds`.
SHARED = {row[0].strip(" `"): row[1] for row in ROWS if len(row) == 3}
BUILT_IN = sorted(name for name, entry in load_criteria().items() if not entry.plugin)


def find_names(text: str) -> set[str]:
    return set(re.findall(r"`(\w+)`", text))


@pytest.mark.parametrize("kind", BUILT_IN)
def test_the_page_has_a_row_for_the_kind_and_names_its_keys(kind):
    entry = load_criteria()[kind]
    assert [row for row in ROWS if row[0].strip() == f"`{kind}`"], "a row of a table"
    keys = entry.table.model_fields.keys() - CriterionTable.model_fields.keys() - {"level"}
    bounds = set() if entry.bound is None else set(entry.bound.model_fields)
    assert not (keys | bounds) - find_names(PAGE)


@pytest.mark.parametrize("key", ["dwell", "min_sigma", "fast_track"])
def test_the_page_names_the_kinds_that_have_a_shared_key(key):
    with_key = {kind for kind in BUILT_IN if key in load_criteria()[kind].table.model_fields}
    assert find_names(SHARED[key]) == with_key


def test_the_page_names_the_kinds_that_have_no_recovery_limit():
    (row,) = [row for row in ROWS if row[0].strip() == "`recover`"]
    without = {kind for kind in BUILT_IN if "recover" not in load_criteria()[kind].table.model_fields}
    assert find_names(row[1]) == without


def test_the_page_names_the_kinds_that_are_advice_by_default():
    sentence = re.search(r"The default of `role` is (.*?), and for rain", PAGE)
    assert sentence is not None
    advice = {kind for kind in BUILT_IN if load_criteria()[kind].kind.role == "advice"}
    assert find_names(sentence[1]) - {"advice"} == advice
