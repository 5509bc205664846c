"""A table of cases fails with each case that failed, and tries the others."""

import pytest

from tests.tables import tabulated


def test_every_case_is_tried_and_those_that_failed_are_named(tmp_path):
    tried = []

    @tabulated(("one", "other"), [(1, 1), (1, 2), (2, 2), (3, 4)])
    def law(tmp_path, one, other):
        tried.append((one, other))
        assert tmp_path.is_dir()
        assert one == other

    with pytest.raises(ExceptionGroup, match="2 of 4 cases") as failed:
        law(tmp_path=tmp_path)
    assert [one.__notes__ for one in failed.value.exceptions] == [["case: (1, 2)"], ["case: (3, 4)"]]
    assert len(tried) == 4
