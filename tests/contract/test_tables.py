"""The decorator `tabulated` runs every case of a table and reports all failed ones."""

import pytest

from tests.tables import tabulated


def test_every_case_runs_and_failed_cases_are_named(tmp_path):
    cases = []

    @tabulated(("one", "other"), [(1, 1), (1, 2), (2, 2), (3, 4)])
    def compare(tmp_path, one, other):
        cases.append((one, other))
        assert tmp_path.is_dir()
        assert one == other

    with pytest.raises(ExceptionGroup, match="2 of 4 cases") as failed:
        compare(tmp_path=tmp_path)
    assert [one.__notes__ for one in failed.value.exceptions] == [["case: (1, 2)"], ["case: (3, 4)"]]
    assert len(cases) == 4
