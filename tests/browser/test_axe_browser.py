"""axe-core finds no violation of WCAG 2.2 A and AA on any page, in both themes, on a phone and a wide screen."""

import re
from itertools import chain

import pytest
from axe_playwright_python.sync_playwright import Axe

from monitor.features.help import library
from monitor.plugins import hooks
from monitor.web.access.rules import list_addresses
from monitor.web.app import PAGES
from tests.browser.test_web_browser import chromium, served, watch
from tests.data.filled import HASHES, make_drawable

__all__ = ("chromium", "served", "watch")  # fixtures
pytestmark = [pytest.mark.browser, pytest.mark.slow]
RULES = {
    "runOnly": {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]},
    "rules": {"empty-table-header": {"enabled": True}},
    # Without this, axe-core also returns every node that passes.
    "resultTypes": ["violations"],
}
VIEWS = {"telephone": 390, "wide": 1440}
IS_NO_PAGE = re.compile(
    r"/(live|api/|login/oidc|files/\{|push|manifest|photos/\{|sites/\{site\}/photos/|sw\.js|sites/\{site\}/outlines/next)"
    r"|\.(js|webmanifest|json|pdf|ics|atom|xml)$|/state$"
)


def list_pages():
    """Return the addresses of all pages for people."""
    routers = [*(m.router for m in PAGES), *chain.from_iterable(hooks().register_routes())]
    paths = {entry.removeprefix("GET ") for entry in list_addresses(routers) if entry.startswith("GET ")}
    return sorted(path for path in paths if not IS_NO_PAGE.search(path))


@pytest.mark.soak
@pytest.mark.parametrize("view", sorted(VIEWS))
def test_every_page_is_accessible(served, watch, tmp_path, view, monkeypatch):
    # The reference takes four seconds; tests/features/help checks it.
    monkeypatch.setattr(library, "start_generating_reference", lambda: None)
    address, db, _ids, _ = served
    make_drawable(db, tmp_path)
    width = VIEWS[view]
    with db.read() as c:
        alert = c.exec_driver_sql("SELECT max(id) FROM alert WHERE site = 'north-bench'").scalar()
    browser = watch(width=width, scheme="light")
    page, axe, wrong, page_count = browser.page, Axe(), [], 0
    page.goto(f"{address}/login")
    wrong += [f"/login: {violation}" for violation in run(axe, page)]
    browser.log_in(address, "ada")
    for path in list_pages():
        place = re.sub(
            r"\{(\w+)\}",
            lambda m: {
                "site": "north-bench",
                "alert_id": str(alert),
                "station": "G1",
                "name": "weekly",
                "form": "html",
                "folder": "how-to",
                "page": "duty" if "/{folder}/" in m.string else "architecture",
                "scene_hash": HASHES["scene"],
            }.get(m[1], "1"),
            path,
        )
        answer = page.goto(address + place)
        if answer.status != 200 or "text/html" not in answer.headers.get("content-type", ""):
            wrong += [f"{path}: {answer.status}"]
            continue
        page.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
        for scheme in ("dark", "light"):
            page.emulate_media(color_scheme=scheme)
            wrong += [f"{path}, {scheme}: {violation}" for violation in run(axe, page)]
        wrong += (
            [f"{path}: {element} is lower than 44 px" for element in find_low_controls(page)]
            if view == "telephone"
            else []
        )
        wider = page.evaluate("document.documentElement.scrollWidth - innerWidth")
        wrong += [f"{path}: {wider} px wider than the screen"] if wider > 1 else []
        away = page.evaluate(
            "[...document.querySelectorAll('header a')]"
            ".filter(a => a.getBoundingClientRect().right > innerWidth).map(a => a.textContent)"
        )
        wrong += [f"{path}: {away} are off the screen"] if away else []
        page_count += 1
    assert not wrong, "\n".join(wrong)
    assert page_count > 10


def find_low_controls(page):
    """Return the controls of a page that are lower than 44 px."""
    tapped = "button, a.button, select, summary, header a, main input:not([type=hidden], [type=checkbox], [type=range])"
    return page.evaluate(
        "tapped => [...document.querySelectorAll(tapped)]"
        ".filter(one => one.checkVisibility() && one.getBoundingClientRect().height < 43.5)"
        ".map(one => `${one.tagName} ${one.name ?? ''} ${one.textContent.trim().slice(0, 30)}`)",
        tapped,
    )


def run(axe, page):
    violations = axe.run(page, options=RULES).response["violations"]
    return [f"{v['id']} x {len(v['nodes'])}: {_describe_node(v['nodes'][0])}" for v in violations]


def _describe_node(node):
    return f"{node['html'][:160]} {node.get('failureSummary', '')[:260]}"
