"""Push messages to browsers: registration, encryption for one device, and devices that no longer exist."""

from dataclasses import replace

import httpx
import pytest
from cryptography.exceptions import InvalidTag

from monitor.delivery.notifier import channel_settings, open_notifier
from monitor.errors import DeliveryError, MissingSettingError
from monitor.features.telephony.queries.devices import add_device, load_devices, publish_push_key
from monitor.features.telephony.web_push import find_public_key, make_key
from monitor.people.queries.users import disable_user
from monitor.settings.service import parse_service
from monitor.storage.audit import load_entries
from tests.contract.test_notify_channels import NOTE
from tests.data.filled import ADA, BO, NOW
from tests.data.store_rows import ask, tell
from tests.features.telephony.push_service import Browser, check_proof, push_service
from tests.web.test_door import Clock, log_in, serving, token

KEY = make_key()


@pytest.fixture
def service():
    with push_service() as server:
        yield server


@pytest.fixture
def channel(filled_database, service):
    settings = {"KEY": KEY, "SERVICES": service.url, "CONTACT": "mailto:a@b.org"}
    return open_notifier("push:bo", {f"SLOPEWARD_PUSH__{k}": v for k, v in settings.items()}, filled_database)


def subscribe(db, service, browser, path, actor=BO):
    """Register a browser for push messages, and return the number of the device."""
    return tell(db, add_device, actor, f"{service.url}{path}", browser.p256dh, browser.auth, path, NOW)


def test_message_can_be_decrypted_by_its_device_only(filled_database, service, channel):
    phone, desk, others = Browser(), Browser(), Browser()
    for browser, path, actor in ((phone, "/phone", BO), (desk, "/desk", BO), (others, "/ada", ADA)):
        subscribe(filled_database, service, browser, path, actor)
    channel.deliver(NOTE)
    requests = {path: (headers, body) for path, headers, body in service.got}
    assert set(requests) == {"/phone", "/desk"}
    headers, body = requests["/phone"]
    message = phone.open(body)
    assert (message["title"], message["url"], message["ledger"]) == (NOTE.subject, "/alerts/2", "hazard")
    with pytest.raises(InvalidTag):
        desk.open(body)
    claims, public = check_proof(headers["Authorization"], service.url)
    assert (claims["sub"], public) == ("mailto:a@b.org", find_public_key(KEY))
    assert (headers["Content-Encoding"], headers["Urgency"], int(headers["TTL"]) > 0) == ("aes128gcm", "high", True)


def test_device_that_no_longer_exists_is_removed_and_others_get_the_message(filled_database, service, channel):
    phone, desk = Browser(), Browser()
    number = subscribe(filled_database, service, phone, "/phone")
    subscribe(filled_database, service, desk, "/desk")
    service.answers["/phone"] = 410
    channel.deliver(NOTE)
    with filled_database.read() as c:
        removed, remaining = load_devices(c, "bo")
        actions = [entry.action for entry in load_entries(c, 5)]
    assert (removed.id, removed.endpoint, removed.auth) == (number, "", "")
    assert "no longer exists (410)" in removed.ended_why
    assert remaining.ended_at is None
    assert "push.gone" in actions
    service.answers["/desk"] = 404
    with pytest.raises(DeliveryError) as caught:
        channel.deliver(replace(NOTE, idempotency_key="n" * 64))
    assert caught.value.permanent
    with pytest.raises(DeliveryError, match="no device"):
        channel.deliver(NOTE)


def test_retry_sends_only_to_devices_that_were_not_reached(filled_database, service, channel):
    phone, desk = Browser(), Browser()
    subscribe(filled_database, service, phone, "/phone")
    subscribe(filled_database, service, desk, "/desk")
    service.answers["/phone"] = 503
    with pytest.raises(DeliveryError) as caught:
        channel.deliver(NOTE)
    assert not caught.value.permanent
    service.answers.clear()
    channel.deliver(replace(NOTE, attempts=2))
    assert [path for path, *_ in service.got] == ["/phone", "/desk", "/phone"]


def test_locked_account_and_unknown_push_service_get_no_message(filled_database, service, channel):
    subscribe(filled_database, service, Browser(), "/phone")
    tell(filled_database, add_device, BO, "https://evil.example.org/x", Browser().p256dh, Browser().auth, "x", NOW)
    tell(filled_database, disable_user, "bo", NOW)
    with pytest.raises(DeliveryError, match="no device"):
        channel.deliver(NOTE)
    assert service.got == []
    with pytest.raises(MissingSettingError, match="slopeward notify push keys"):
        open_notifier("push:bo", {"SLOPEWARD_PATHS__STATE": "/nowhere"}, filled_database)


def test_person_adds_and_removes_a_device_on_the_page(filled_database, service):
    settings = f'[push]\nservices = ["{service.url}"]\n'
    tell(filled_database, publish_push_key, find_public_key(KEY), NOW)
    phone = Browser()
    form = {"endpoint": f"{service.url}/phone", "p256dh": phone.p256dh, "auth": phone.auth}
    page = serving(filled_database, Clock(), settings)
    with page as address, httpx.Client(base_url=address, trust_env=False) as browser:
        assert browser.post("/account/devices", data={**form, "csrf": "x"}).status_code == 401
        log_in(browser)
        assert browser.post("/account/devices", data={**form, "csrf": "x"}).status_code == 403
        csrf = {"csrf": token(browser)}
        for wrong in ({"endpoint": "https://169.254.169.254/latest"}, {"auth": "AAAA"}, {"p256dh": "A" * 87}):
            assert browser.post("/account/devices", data={**form, **csrf, **wrong}).status_code == 409
        assert browser.post("/account/devices", data={**form, **csrf}).status_code == 303
        page = browser.get("/account").text
        assert find_public_key(KEY) in page
        assert KEY not in page
        (device,) = ask(filled_database, load_devices, "bo")
        config = parse_service(settings, "x", {"SLOPEWARD_PUSH__KEY": KEY})
        open_notifier("push:bo", channel_settings(config, {}), filled_database).deliver(NOTE)
        assert phone.open(service.got[0][2])["title"] == NOTE.subject
        with httpx.Client(base_url=address, trust_env=False) as other:
            log_in(other, "ada")
            assert other.post(f"/account/devices/{device.id}/remove", data={"csrf": token(other)}).status_code == 404
        assert browser.post(f"/account/devices/{device.id}/remove", data=csrf).status_code == 303
        for public in ("/sw.js", "/manifest.webmanifest", "/offline"):
            answer = browser.get(public)
            assert (answer.status_code, "bo</a>" in answer.text) == (200, False)
