"""The registry of trained models."""

from datetime import UTC, datetime

import pytest

from monitor.errors import NotFoundError
from monitor.models.queries.registry import add_model, find_model

NOW = datetime(2026, 3, 10, tzinfo=UTC)


def test_start_of_a_hash_is_no_pattern(database):
    with database.write() as c:
        add_model(c, "ab12", kind="gru", task="forecast", site=None, path="x", card={}, now=NOW, reason="trained")
        assert find_model(c, "AB").model_hash == "ab12"
        for start in ("%", "_b", ""):
            with pytest.raises(NotFoundError, match="no model"):
                find_model(c, start)
