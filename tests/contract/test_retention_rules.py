"""The rules of retention, the keys of the configuration and the documentation agree; plugins may add rules."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from monitor import plugin_isolation, plugins
from monitor.api.hooks import hookimpl
from monitor.plugins import has_plugin, implementations, list_plugins
from monitor.settings.service import RetentionSection
from monitor.storage.engine import Database
from monitor.storage.prune import RetentionRun
from monitor.storage.retention import RetentionLimits, RetentionRule, list_keys, list_retention_rules

PAGE = Path(__file__).parents[2] / "docs/how-to/database.md"

# Features whose rules are the only ones of their key.
FEATURES = {"photos": "photos", "scores": "forecasts"}


def test_every_key_of_the_configuration_has_a_rule_and_the_other_way_round() -> None:
    absent = {key for key, feature in FEATURES.items() if not has_plugin(feature)}
    assert set(list_keys(list_retention_rules())) == set(RetentionSection().ages_s()) - absent


def test_rows_are_deleted_before_the_rows_to_which_they_refer() -> None:
    names = [plugin.name for plugin in list_plugins()]
    by_plugin = {
        implementation.plugin: list(implementation.call()) for implementation in implementations("retention_rules")
    }
    ordered = sorted(by_plugin, key=names.index, reverse=True)
    assert list_retention_rules() == [rule for plugin in ordered for rule in by_plugin[plugin]]
    assert ordered[-2:] == ["readings", "storage"]


def test_every_field_of_the_section_is_an_age_or_the_limits_by_quantity() -> None:
    fields = {field.alias or name for name, field in RetentionSection.model_fields.items()}
    assert fields == {*RetentionSection().ages_s(), "quantities"}


def test_the_documentation_lists_the_rows_of_each_key() -> None:
    page = PAGE.read_text(encoding="utf-8")
    for key, rows in list_keys(list_retention_rules()).items():
        assert f"| `{key}` | {', '.join(rows)}" in page
    for rule in list_retention_rules():
        assert rule.key is not None or rule.rows in page.lower()


@pytest.fixture
def add_third_party() -> Iterator[Callable[..., None]]:
    """Return a function that registers hook implementations as those of a third-party plugin."""

    def add(**functions: Callable[..., Any]) -> None:
        module = ModuleType("sweeper")
        module.__dict__.update({name: hookimpl(function) for name, function in functions.items()})
        plugins.manager().register(plugin_isolation.isolate(plugins.manager(), "sweeper", module), "sweeper")

    yield add
    plugins.manager().unregister(name="sweeper")
    for fault in plugin_isolation.list_faults():
        plugin_isolation.clear_fault(fault.plugin, fault.what)


def test_a_rule_of_a_plugin_that_fails_does_not_stop_the_others(
    database: Database, add_third_party: Callable[..., None]
) -> None:
    applied: list[datetime] = []

    def fail(_sweep: Any, _before_at: datetime) -> None:
        raise ZeroDivisionError("no rows")

    rules = [
        RetentionRule(None, "rows that cannot be deleted", fail),
        RetentionRule(None, "other rows", lambda _sweep, before_at: applied.append(before_at)),
    ]
    add_third_party(retention_rules=lambda: rules)
    now = datetime(2026, 3, 1, tzinfo=UTC)
    RetentionRun(database, RetentionLimits(), now).run()
    assert applied == [now]
    assert [fault.reason for fault in plugin_isolation.list_faults()] == ["ZeroDivisionError: no rows"]


def test_nothing_is_deleted_if_a_plugin_cannot_say_what_evidence_names(
    database: Database, add_third_party: Callable[..., None]
) -> None:
    applied: list[datetime] = []

    def fail(connection: Any) -> Any:
        raise ZeroDivisionError(f"no spans in {connection.engine.dialect.name}")

    rule = RetentionRule(None, "rows", lambda _sweep, before_at: applied.append(before_at))
    add_third_party(retention_rules=lambda: [rule], cited_spans=fail)
    with pytest.raises(ZeroDivisionError, match="no spans"):
        RetentionRun(database, RetentionLimits(), datetime(2026, 3, 1, tzinfo=UTC)).run()
    assert applied == []
