"""The rules of retention, the keys of the configuration and the documentation agree."""

from pathlib import Path

from monitor.settings.service import RetentionSection
from monitor.storage.retention import list_keys
from monitor.storage.subjects import retention_rules

PAGE = Path(__file__).parents[2] / "docs/how-to/database.md"


def test_every_key_of_the_configuration_has_a_rule_and_the_other_way_round() -> None:
    assert set(list_keys(retention_rules())) == set(RetentionSection().ages_s())


def test_every_field_of_the_section_is_an_age_or_the_limits_by_quantity() -> None:
    fields = {field.alias or name for name, field in RetentionSection.model_fields.items()}
    assert fields == {*RetentionSection().ages_s(), "quantities"}


def test_the_documentation_lists_the_rows_of_each_key() -> None:
    page = PAGE.read_text(encoding="utf-8")
    for key, rows in list_keys(retention_rules()).items():
        assert f"| `{key}` | {', '.join(rows)}" in page
    for rule in retention_rules():
        assert rule.key is not None or rule.rows in page.lower()
