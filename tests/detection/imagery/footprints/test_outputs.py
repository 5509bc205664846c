"""Files of a detection and the folder in which they are written."""

import pytest

from detection.imagery.errors import OutputError
from detection.imagery.footprints.outputs import open_workplace


def test_error_without_text_is_reported_by_its_type(tmp_path):
    with pytest.raises(OutputError, match=r"cannot write the results \(OSError\)"), open_workplace(tmp_path / "out"):
        raise OSError
    assert not (tmp_path / "out").exists()
