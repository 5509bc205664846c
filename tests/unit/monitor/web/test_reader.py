"""Which language an answer is in: the choice of the browser, its wish, the default; programs read English."""

import asyncio

import httpx
import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from forecasting.message import TEXT_OF
from monitor.decision.series.assessment import Assessment
from monitor.domain.language.catalogue import current, gettext
from monitor.domain.language.rendering import translate
from monitor.web.access.guard import Guard
from monitor.web.access.reader import COOKIE, LanguageMiddleware

NO_DATA = Assessment("v", "Red").reason


def _answer(request):
    if request.url.path == "/said":
        return PlainTextResponse(translate(TEXT_OF(name="Red", text=NO_DATA)))
    return PlainTextResponse(f"{current()} {gettext('Alerts')}")  # in a thread, as the pages are


class Browser:
    def __init__(self):
        app = Starlette(routes=[Route("/{path:path}", _answer)])
        self.cookies = httpx.Cookies()
        self._transport = httpx.ASGITransport(LanguageMiddleware(app, "es"))

    def get(self, path, headers=None, params=None):
        async def ask():
            async with httpx.AsyncClient(
                transport=self._transport, base_url="http://page", cookies=self.cookies
            ) as client:
                answer = await client.get(path, headers=headers, params=params)
                self.cookies = client.cookies
                return answer

        return asyncio.run(ask())


@pytest.fixture
def browser():
    return Browser()


@pytest.mark.parametrize(
    ("wish", "said"),
    [
        ("", "es Alertas"),
        ("fr, de", "es Alertas"),
        ("it-CH", "it Allerte"),
        ("zh-CN,zh;q=0.9", "zh 预警"),
        ("en;q=0.2, it;q=0.9", "it Allerte"),
        ("it;q=0, *", "es Alertas"),
        ("it;q=x", "es Alertas"),
    ],
)
def test_a_browser_is_answered_in_the_language_it_wishes(browser, wish, said):
    answer = browser.get("/", headers={"Accept-Language": wish})
    assert answer.text == said
    assert "set-cookie" not in answer.headers


def test_a_choice_is_kept_by_the_browser_and_wins(browser):
    answer = browser.get("/?lang=it")
    assert answer.text == "it Allerte"
    assert "SameSite=Lax" in answer.headers["set-cookie"]
    assert browser.get("/alerts", headers={"Accept-Language": "zh"}).text == "it Allerte"
    assert browser.get("/?lang=en").text == "en Alerts"
    assert browser.cookies[COOKIE] == "en"


@pytest.mark.parametrize("lang", ["fr", "../it", "it\r\nx: y", ""])
def test_an_unknown_choice_is_none(browser, lang):
    answer = browser.get("/", params={"lang": lang})
    assert answer.text == "es Alertas"
    assert "set-cookie" not in answer.headers
    assert browser.get("/", headers={"Cookie": f"{COOKIE}=fr"}).text == "es Alertas"


def test_programs_read_english_unless_they_ask_and_a_refresh_chooses_nothing_for_later(browser):
    italian = {"Accept-Language": "it", "Cookie": f"{COOKIE}=it"}
    assert browser.get("/api/v1/sites", headers=italian).text == "en Alerts"
    assert browser.get("/health", headers=italian).text == "en Alerts"
    answer = browser.get("/api/v1/sites?lang=it")
    assert answer.text == "it Allerte"
    assert "set-cookie" not in answer.headers
    answer = browser.get("/live/overview?lang=zh")
    assert answer.text == "zh 预警"
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize("other", ['pref={"a":"b"}', "a@{}=1 2", "x", 'q="\\"'])
def test_cookies_of_other_pages_do_not_hide_the_choice(browser, other):
    assert browser.get("/", headers={"Cookie": f"{other}; {COOKIE}=it"}).text == "it Allerte"


def test_a_cookie_of_backslashes_takes_no_time():
    """Python takes 2 s over one of 30 kB (CVE-2024-7592), and nobody else is answered meanwhile."""
    app = Guard(Starlette(routes=[Route("/", lambda request: PlainTextResponse(str(request.cookies)))]))

    async def ask(cookie):
        transport = httpx.ASGITransport(LanguageMiddleware(app, "es"))
        async with httpx.AsyncClient(transport=transport, base_url="http://page") as client:
            return (await client.get("/", headers={"Cookie": cookie})).text

    assert asyncio.run(ask('a="' + "\\" * 30_000 + '"; b="2"')) == "{'b': '2'}"
    assert asyncio.run(ask('a="2"; b=3')) == "{'a': '2', 'b': '3'}"


def test_a_station_called_like_a_level_keeps_its_name_on_the_page(browser):
    assert browser.get("/said?lang=en").text == "Red: no usable data"
    assert browser.get("/said?lang=it").text.startswith("Red: nessun dato")
    assert browser.get("/said?lang=es").text.startswith("Red: ")
