"""An alert in the night on a telephone: from the link in the mail to the acknowledgement and the hand-over."""

import email.policy
import io
import re
import socket
from email import message_from_bytes

import pytest
from aiosmtpd.controller import Controller
from PIL import Image

from monitor.alerts.queries.alerts import find_alert
from monitor.delivery.dispatcher import Dispatcher
from monitor.people.queries import users
from monitor.settings.service import parse_service
from monitor.storage.engine import Database
from monitor.storage.service_state import write_heartbeat
from monitor.web.app import build_app
from tests.browser.test_web_browser import Watch, chromium  # noqa: F401 - a fixture
from tests.data.filled import PASSWORD
from tests.data.servers.page_server import PageServer
from tests.data.store_rows import ask, tell
from tests.data.watched_slope import SITE_TEXT, START, WatchedSlope
from tests.fixtures.waiting import wait_for

pytestmark = [pytest.mark.browser, pytest.mark.slow]
SITE_WITH_MAIL = SITE_TEXT.replace("longitude = 8.9\n", 'longitude = 8.9\ntimezone = "Europe/Zurich"\n', 1).replace(
    'channels = ["log", "log:second"]\n', 'channels = ["email:duty@example.org"]\nphone = "+41 79 123 45 67"\n'
)
SITE_WITH_MAIL += '[[team]]\nname = "crew"\nmembers = ["duty engineer"]\nlead = "duty engineer"\n'
MAX_TAPS = 6


class Inbox:
    """SMTP handler that stores the received mails."""

    def __init__(self):
        self.mails = []

    async def handle_DATA(self, server, session, envelope):  # noqa: N802 - name given by aiosmtpd
        self.mails.append(message_from_bytes(envelope.content, policy=email.policy.default))
        return "250 OK"


@pytest.fixture
def inbox():
    # aiosmtpd does not report the port that port 0 selects, so a free port is found first.
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    inbox = Inbox()
    server = Controller(inbox, hostname="127.0.0.1", port=port)
    inbox.environ = {"SLOPEWARD_SMTP__HOST": "127.0.0.1", "SLOPEWARD_SMTP__PORT": str(port)}
    inbox.environ |= {"SLOPEWARD_SMTP__SECURITY": "none"}
    server.start()
    yield inbox
    server.stop()


@pytest.mark.soak
def test_mail_leads_to_acknowledgement_chart_call_and_hand_over(inbox, chromium, tmp_path, sqlite_url):  # noqa: F811
    db = Database(sqlite_url)
    slope = WatchedSlope(db, SITE_WITH_MAIL)
    # The page shows duty only on sites with several people.
    for name in ("bo", "cy"):
        tell(db, users.add_user, name, PASSWORD, "operator", START)
    slope.live(26, looks=1)
    clock = [slope.now]
    page_server = PageServer(
        lambda url: build_app(parse_service(f'[web]\npublic_url = "{url}"\n', "test"), db, lambda: clock[0])
    )
    base = page_server.url
    dispatcher = Dispatcher(
        db, {"bench": slope.site}, lambda: clock[0], environ=inbox.environ, page_url=base, zone=slope.site.timezone
    )
    telephone = Watch(chromium, width=390, height=844)
    page = telephone.page
    try:
        with page_server:
            # At the start of the shift, the duty officer signs in once.
            telephone.log_in(base, "bo")
            # The slope fails in the night, and a mail is sent.
            slope.live(10, {"G1": 150.0, "G2": 140.0})
            clock[0] = slope.now
            tell(
                db,
                write_heartbeat,
                "core",
                {"state": "running", "version": "x", "degraded": []},
                slope.now,
            )
            dispatcher.start()
            wait_for(lambda: any("RED" in mail["subject"] for mail in inbox.mails))
            mail = next(mail for mail in inbox.mails if "RED" in mail["subject"])
            assert re.fullmatch(
                r"RED North bench: Clear the pit floor\. \d+ mm/day, 2 stations\. \d\d:\d\d", mail["subject"]
            )
            assert len(mail["subject"]) <= 78
            link = re.search(r"http://\S+/alerts/\d+", mail.get_content())[0]
            # The session of the evening is still valid, so the link opens the alert without signing in again.
            taps = ["the link of the message"]
            page.goto(link)

            def tap(element):
                taps.append(element.inner_text())
                element.click()

            head = page.locator("#part-alert_head").inner_text()
            assert re.search(
                r"Rate of crack opening is \d+ mm/day over 8 h at 2 of 2 stations, red from 80 mm/day\.", head
            )
            assert "Clear the pit floor" in head
            button = page.get_by_role("button", name="I am on my way")
            assert button.bounding_box()["height"] >= 24
            assert button.bounding_box()["y"] < 844, "the button must be on the first screen"
            tap(button)
            page.wait_for_url(re.compile("told=.*acknowledged"))
            assert ask(db, find_alert, int(link.rpartition("/")[2])).acknowledged_by == "bo"
            assert "2 of 2 stations agree on red." in page.locator("main").inner_text()
            assert page.evaluate("document.documentElement.scrollWidth") <= 390
            # One tap dials the number of the next person.
            call = page.get_by_role("link", name="Call duty engineer +41 79 123 45 67")
            assert call.get_attribute("href") == "tel:+41791234567"
            assert call.bounding_box()["height"] >= 44
            taps.append(call.inner_text())
            # The chart shows the time of the alert.
            tap(page.get_by_role("link", name="Show the chart around this time"))
            page.locator("#chart[data-drawn]").wait_for(timeout=60_000)
            assert page.locator("#chart .key").count() == 1
            # The duty officer hands over with a note for the next person.
            tap(page.get_by_role("link", name="Who to call"))
            page.wait_for_url(re.compile("/duty"))
            assert page.locator(".calls a[href^='tel:']").first.get_attribute("href") == "tel:+41791234567"
            page.get_by_label("What the person who takes over must know").fill(
                "G1 and G2 are accelerating, the pit floor is clear"
            )
            tap(page.get_by_role("button", name="Sign the hand-over as bo"))
            page.get_by_text("G1 and G2 are accelerating, the pit floor is clear").first.wait_for()
            assert len(taps) <= MAX_TAPS, taps
            # An observation on the slope is added to the alert with a photo.
            page.goto(link)
            page.get_by_label("Note").fill("crack at the toe, three fingers")
            photo = io.BytesIO()
            Image.new("RGB", (1600, 1200), "orange").save(photo, "JPEG")
            page.locator("#note-photo").set_input_files(
                {"name": "IMG_1.jpg", "mimeType": "image/jpeg", "buffer": photo.getvalue()}
            )
            page.get_by_role("button", name="Add the note").click()
            page.locator(".shots img").wait_for(state="attached")
            page.get_by_role("heading", name="What happened").click()
            page.locator(".shots img").wait_for()
            assert page.wait_for_function("document.querySelector('.shots img').naturalWidth > 0")
            assert "crack at the toe, three fingers" in page.locator("#part-alert_chain").inner_text()
            assert page.evaluate("document.documentElement.scrollWidth") <= 390
            assert (telephone.complaints, telephone.hosts) == ([], {"127.0.0.1"})
    finally:
        dispatcher.stop(2.0)
        telephone.close()
        db.close()
