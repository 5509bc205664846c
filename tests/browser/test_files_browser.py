"""In Chromium, a person imports files: chooses them, answers the questions once, checks a preview and accepts."""

import pytest

from tests.browser.test_web_browser import Watch, chromium  # noqa: F401 - a fixture
from tests.features.table_import.test_files import bench, german_table, page  # noqa: F401 - fixtures

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.mark.soak
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_german_tables_are_imported(page, chromium, tmp_path):  # noqa: F811
    tables = [tmp_path / "Hang Süd.csv", tmp_path / "Hang Nord.csv"]
    for number, table in enumerate(tables, 1):
        table.write_bytes(german_table().replace(b"Riss 1", f"Riss {number}".encode()))
    watch = Watch(chromium)
    try:
        tab = watch.log_in(page, "ada", "/files")
        tab.select_option("select[name=site]", "")
        tab.set_input_files("#file", [str(table) for table in tables])
        tab.click("#send button")
        tab.wait_for_selector("text=Asked for: Hang Nord.csv, Hang Süd.csv")
        tab.fill("input[name=answer] >> nth=0", "Europe/Berlin")
        tab.fill("input[name=answer] >> nth=1", "47.5,10.2")
        tab.click("text=Answer >> nth=-1")
        tab.wait_for_selector("text=The first and last rows as they are read")
        tab.fill("input[name=site]", "hang")
        tab.click("button.primary")
        tab.wait_for_selector("text=What was stored")
        # No element is wider than the screen, on a desktop and on a phone.
        for width in (1360, 390):
            tab.set_viewport_size({"width": width, "height": 900})
            assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth"), width
        tab.click("text=To the page of the site")
        tab.wait_for_selector("option[value=Riss-1]", state="attached")
        assert (watch.complaints, watch.hosts) == ([], {"127.0.0.1"})
    finally:
        watch.close()
