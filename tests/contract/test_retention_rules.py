"""The rules of retention, the keys of the configuration and the documentation agree."""

from pathlib import Path

from monitor.plugins import has_plugin, implementations, list_plugins
from monitor.settings.service import RetentionSection
from monitor.storage.retention import list_keys, list_retention_rules

PAGE = Path(__file__).parents[2] / "docs/how-to/database.md"

# Features whose rules are the only ones of their key.
FEATURES = {"photos": "photos", "scores": "forecasts"}


def test_every_key_of_the_configuration_has_a_rule_and_the_other_way_round() -> None:
    absent = {key for key, feature in FEATURES.items() if not has_plugin(feature)}
    assert set(list_keys(list_retention_rules())) == set(RetentionSection().ages_s()) - absent


def test_rows_are_deleted_before_the_rows_to_which_they_refer() -> None:
    plugins = [plugin.name for plugin in list_plugins()]
    by_plugin = {
        implementation.plugin: list(implementation.call()) for implementation in implementations("retention_rules")
    }
    ordered = sorted(by_plugin, key=plugins.index, reverse=True)
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
