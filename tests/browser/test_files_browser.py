"""A stranger's file on the page, in a real Chromium: chosen, understood, accepted; levels and forecasts, no editor."""

import pytest

from tests.browser.test_web_browser import Watch, chromium  # noqa: F401 - a fixture
from tests.data.filled import PASSWORD
from tests.extensions.table_import.test_files import bench, german_table, page  # noqa: F401 - fixtures

pytestmark = [pytest.mark.browser, pytest.mark.slow]


def send(look, address, table):
    """Log in and bring a file that belongs to no site yet."""
    look.goto(f"{address}/login?to=/files")
    look.fill("input[name=name]", "ada")
    look.fill("input[name=password]", PASSWORD)
    look.click("main button")
    look.goto(f"{address}/files")
    look.select_option("select[name=site]", "")
    look.set_input_files("#file", str(table))
    look.click("#send button")
    return look


def check_widths(look):
    """Nothing stands out to the side, on a screen and on a telephone."""
    for width in (1360, 390):
        look.set_viewport_size({"width": width, "height": 900})
        assert look.evaluate("document.documentElement.scrollWidth <= innerWidth"), width


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_german_table_becomes_levels_and_forecasts(page, chromium, tmp_path):  # noqa: F811
    table = tmp_path / "Hang Süd.csv"
    table.write_bytes(german_table())
    watch = Watch(chromium)
    try:
        look = send(watch.page, page, table)
        look.wait_for_selector("text=Which time zone")
        look.fill("input[name=answer] >> nth=0", "Europe/Berlin")
        look.fill("input[name=answer] >> nth=1", "47.5,10.2")
        look.click("text=Answer >> nth=-1")
        look.wait_for_selector("text=The first rows as they are read")
        look.fill("input[name=site]", "hang")
        look.click("button.primary")
        look.wait_for_selector("text=Forecasts of crack opening", timeout=60_000)
        assert look.locator("svg.ribbon rect").count() > 0
        assert look.locator("path.said").count() == 1
        check_widths(look)
        look.click("text=To the page of the site")
        look.wait_for_selector("option[value=Riss-1]", state="attached")
        assert watch.complaints == []
        assert watch.hosts == {"127.0.0.1"}
    finally:
        watch.close()


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_of_a_table_that_nothing_judges_the_page_shows_the_key_and_takes_the_bounds(page, chromium, tmp_path):  # noqa: F811
    table = tmp_path / "tilt.csv"
    rows = [f"2025-02-{1 + k // 8:02} {3 * k % 24:02}:00;{k % 7 / 10}" for k in range(60)]
    table.write_text("\n".join(["Time (UTC);T1 Tilt X (mrad)", *rows, ""]))
    watch = Watch(chromium)
    try:
        look = send(watch.page, page, table)
        look.fill("input[name=answer]", "47.5,10.2")
        look.click("text=Answer >> nth=-1")
        look.wait_for_selector("text=Nothing judges tilt x yet")
        assert 'series = "T1.tilt_x"\nyellow = {over = BOUND}' in look.inner_text(
            "section[aria-labelledby=h-unjudged] pre"
        )
        check_widths(look)
        look.fill("input[name=bound]", "0.2 0.4 0.9")
        look.click("section[aria-labelledby=h-accept] button.primary")
        look.wait_for_selector("section[aria-labelledby=h-levels]", timeout=60_000)
        assert look.locator("section[aria-labelledby=h-unjudged]").count() == 0
        assert look.locator("svg.ribbon rect").count() > 1, "levels, and no editor"
        assert watch.complaints == []
    finally:
        watch.close()
