"""The page as an installed app: saved pages show their age, push messages appear, and a login deletes saved pages."""

import json
import re
from datetime import timedelta

import pytest

from monitor.text.instants import format_age
from tests.browser.test_web_browser import chromium, served, story, watch  # noqa: F401
from tests.fixtures.waiting import wait_for

pytestmark = [pytest.mark.browser, pytest.mark.slow]
READY = "() => navigator.serviceWorker.ready.then(() => navigator.serviceWorker.controller !== null)"


def visit(page, base, *paths):
    page.goto(base + "/")
    wait_for(lambda: page.evaluate(READY))
    for path in paths:
        page.goto(base + path)
        page.wait_for_load_state("load")


@pytest.mark.soak
def test_cached_page_is_shown_offline_with_its_age(served, watch):  # noqa: F811
    base, _, _, server = served
    page = watch(width=390, height=844).page
    visit(page, base, "/sites/north-bench", "/", "/alerts")
    shown = page.goto(base + "/sites/north-bench").text()
    assert page.locator("#saved-copy").is_hidden()
    saved_paths = page.evaluate(
        "async () => (await (await caches.open('pages')).keys()).map((k) => new URL(k.url).pathname)"
    )
    assert saved_paths == ["/", "/sites/north-bench"]
    # The page was saved an hour ago by the clock of this device, and the server stops.
    page.evaluate(
        """async () => {
          const pages = await caches.open('pages'), known = await pages.match('/sites/north-bench');
          const headers = new Headers(known.headers);
          headers.set('X-Saved-At', String(Date.now() - 3600e3));
          await pages.put('/sites/north-bench', new Response(await known.text(), { headers }));
        }"""
    )
    server.stop()
    wait_for(lambda: not is_up(page, base))
    page.goto(base + "/sites/north-bench")
    assert page.locator("#saved-copy").is_visible()
    assert "last state that this device received" in page.locator("#saved-copy").inner_text()
    wait_for(lambda: re.search(r"^1 h( \d+ min)?$", page.locator("#saved-copy time").inner_text()))
    assert "North bench" in page.content()
    assert "is-stale" in page.evaluate("document.body.className")
    assert "content-security-policy" in page.evaluate(
        "async () => [...(await (await caches.open('pages')).match('/')).headers.keys()]"
    )
    assert len(shown) > 1000
    # The list of alerts is never saved, because it would be outdated.
    page.goto(base + "/alerts")
    assert "No connection" in page.inner_text("h1")
    wait_for(lambda: page.locator("#saved-pages li").count() == 2)


def is_up(page, base):
    script = "(url) => fetch(url, { signal: AbortSignal.timeout(500) }).then(() => true, () => false)"
    return page.evaluate(script, f"{base}/health")


def test_script_formats_ages_like_the_server(served, watch):  # noqa: F811
    base, *_ = served
    spans_s = [-5, 0, 42, 70, 3599, 3600, 5405, 86399, 93600, 9 * 86400 + 3600, 40 * 86400]
    page = watch().page
    page.goto(base)
    shown = page.evaluate(
        """async (spans) => {
          const { formatAge } = await import('/static/v/0/live/ages.js');
          return spans.map((seconds) => formatAge(1000 * seconds));
        }""",
        spans_s,
    )
    assert shown == [format_age(timedelta(seconds=span)) for span in spans_s]


@pytest.mark.soak
def test_cached_pages_of_a_person_are_deleted_when_another_person_logs_in(served, watch):  # noqa: F811
    base, *_ = served
    page = watch().page
    visit(page, base, "/sites/north-bench")
    page.goto(base + "/login")
    page.fill("input[name=name]", "bo")
    page.fill("input[name=password]", story.PASSWORD)
    page.click("main button")
    page.wait_for_url(base + "/")
    saved_paths = page.evaluate(
        "async () => (await (await caches.open('pages')).keys()).map((k) => new URL(k.url).pathname)"
    )
    assert "/sites/north-bench" not in saved_paths


@pytest.mark.soak
def test_push_message_is_shown_with_the_address_of_its_alert(served, watch):  # noqa: F811
    base, *_ = served
    browser_page = watch()
    browser_page.context.grant_permissions(["notifications"], origin=base)
    page = browser_page.page
    visit(page, base)
    session = browser_page.context.new_cdp_session(page)
    registrations = []
    session.on("ServiceWorker.workerRegistrationUpdated", lambda e: registrations.extend(e["registrations"]))
    session.send("ServiceWorker.enable")
    wait_for(lambda: page.evaluate("1") and registrations)
    message = {
        "title": "RED North bench: close the road",
        "body": "300 mm/day",
        "url": "/alerts/7",
        "key": "k",
        "ledger": "hazard",
    }
    session.send(
        "ServiceWorker.deliverPushMessage",
        {"origin": base, "registrationId": registrations[0]["registrationId"], "data": json.dumps(message)},
    )
    shown = """async () => (await (await navigator.serviceWorker.ready).getNotifications())
      .map((n) => [n.title, n.body, n.data.url, n.requireInteraction])"""
    wait_for(lambda: page.evaluate(shown))
    assert page.evaluate(shown) == [[message["title"], message["body"], "/alerts/7", True]]
    manifest = page.evaluate("fetch('/manifest.webmanifest').then((answer) => answer.json())")
    assert manifest["start_url"] == "/"
    for icon in manifest["icons"]:
        assert page.evaluate("(src) => fetch(src).then((answer) => answer.status)", icon["src"]) == 200
    assert not [text for text in browser_page.complaints if "GL Driver" not in text]
