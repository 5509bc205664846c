"""Files on the page, in a real Chromium: chosen, previewed, asked about once, accepted."""

import pytest

from tests.browser.test_web_browser import Watch, chromium  # noqa: F401 - a fixture
from tests.features.table_import.test_files import bench, german_table, page  # noqa: F401 - fixtures

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.mark.soak
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_german_tables_are_read_in(page, chromium, tmp_path):  # noqa: F811
    tables = [tmp_path / "Hang Süd.csv", tmp_path / "Hang Nord.csv"]
    for number, table in enumerate(tables, 1):
        table.write_bytes(german_table().replace(b"Riss 1", f"Riss {number}".encode()))
    watch = Watch(chromium)
    try:
        look = watch.log_in(page, "ada", "/files")
        look.select_option("select[name=site]", "")
        look.set_input_files("#file", [str(table) for table in tables])
        look.click("#send button")
        look.wait_for_selector("text=Asked for: Hang Nord.csv, Hang Süd.csv")
        look.fill("input[name=answer] >> nth=0", "Europe/Berlin")
        look.fill("input[name=answer] >> nth=1", "47.5,10.2")
        look.click("text=Answer >> nth=-1")
        look.wait_for_selector("text=The first and last rows as they are read")
        look.fill("input[name=site]", "hang")
        look.click("button.primary")
        look.wait_for_selector("text=What was stored")
        for width in (1360, 390):  # nothing stands out to the side, on a screen and on a telephone
            look.set_viewport_size({"width": width, "height": 900})
            assert look.evaluate("document.documentElement.scrollWidth <= innerWidth"), width
        look.click("text=To the page of the site")
        look.wait_for_selector("option[value=Riss-1]", state="attached")
        assert (watch.complaints, watch.hosts) == ([], {"127.0.0.1"})
    finally:
        watch.close()
