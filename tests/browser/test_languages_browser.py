"""In Chromium, pages in every language fit a phone and a desktop screen, and scripts use the language too."""

import pytest

from monitor.text.catalogue import ENGLISH, LANGUAGES
from tests.browser.test_web_browser import chromium, served, story, watch  # noqa: F401 - fixtures

pytestmark = [pytest.mark.browser, pytest.mark.slow]
NARROW = ("/notifications", "/sites/north-bench/forecasts", "/sites/north-bench/instruments")
# A word of the page, a word of its data and a word of its scripts.
EXPECTED_WORDS = {
    "it": ("Panoramica", "arancione", "osservato"),
    "zh": ("总览", "橙色", "观测"),
    "es": ("Resumen", "naranja", "observado"),
}


@pytest.mark.soak
@pytest.mark.parametrize("language", [code for code in LANGUAGES if code != ENGLISH])
def test_every_page_fits_in_a_language(served, watch, language):  # noqa: F811
    base, _, ids, _ = served
    page_word, data_word, script_word = EXPECTED_WORDS[language]
    shown = ("/sites/north-bench", "/sites/north-bench/movement", f"/alerts/{ids['hazard_alert']}", "/alerts", "/login")
    for width in (360, 1360):
        w = watch(width=width, height=800, scheme="light")
        w.page.goto(f"{base}/?lang={language}")
        assert w.page.locator("html").get_attribute("lang") == language
        assert page_word in w.page.locator("nav").first.inner_text()
        for path in ("/", *shown, *(NARROW if width < 1000 else ())):
            w.page.goto(f"{base}{path}")
            assert w.page.locator("html").get_attribute("lang") == language, "the browser stores the chosen language"
            assert w.page.evaluate("document.documentElement.scrollWidth") <= width, (path, width)
            cut = w.page.evaluate(
                "[...document.querySelectorAll('button, .button, .chip, .block .big span, nav a, dt')]"
                ".filter((e) => e.offsetParent && e.scrollWidth > e.clientWidth + 1)"
                ".filter((e) => getComputedStyle(e).display !== 'inline')"
                ".map((e) => e.textContent.trim())"
            )
            assert cut == [], (path, width)
        if width < 1000:
            w.page.goto(f"{base}/login?to=/account")
            w.page.locator("[name=name]").fill("ada")
            w.page.locator("[name=password]").fill(story.PASSWORD)
            w.page.locator("main form button").click()
            w.page.locator("#h-sessions").wait_for()
            for path in ("/account", "/admin", "/signatures", "/sites/north-bench/proposals", "/nothing", shown[2]):
                w.page.goto(f"{base}{path}")
                assert w.page.evaluate("document.documentElement.scrollWidth") <= width, path
            # The path /nothing caused an error message.
            w.complaints.clear()
        w.page.goto(f"{base}/sites/north-bench")
        assert data_word in w.page.locator(".headline .level .big").inner_text().lower()
        w.page.locator("#chart .key li", has_text=script_word).first.wait_for(state="attached", timeout=60_000)
        assert w.complaints == []
