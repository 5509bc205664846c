"""Logins through an OpenID Connect provider that runs as a real HTTP server, and attacks on them."""

import html
import re
from contextlib import contextmanager
from datetime import timedelta
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from sqlalchemy import select

from monitor.errors import ConfigError
from monitor.features.single_sign_on import provider as module
from monitor.features.single_sign_on.provider import LEEWAY_S
from monitor.people.queries import users
from monitor.people.queries.second_factor import add_second_factor, code_of
from monitor.people.queries.users import bind_person
from monitor.settings.service import parse_service
from monitor.settings.vault import open_vault
from monitor.storage.audit import load_entries, verify_chain
from monitor.storage.audit_tables import audit_entry
from monitor.storage.seals import find_unsealed
from tests.data.filled import NOW, PASSWORD
from tests.data.servers.oidc_provider import CLIENT, KEYS, SECRET, providing
from tests.data.store_rows import tell
from tests.tables import tabulated
from tests.web.test_door import Clock, serving

SETTINGS = """
[web]
public_url = "{page}"
[oidc]
issuer = "{issuer}"
name = "Canton"
client_id = "slopeward"
{more}
[oidc.roles]
duty = "operator"
chiefs = "admin"
[oidc.sites]
duty = ["lake-slope", "retired-long-ago"]
chiefs = ["*"]
"""
SUBJECT = "248289761001"


@contextmanager
def page_with(provider, database, clock, more=""):
    with pytest.MonkeyPatch.context() as patch, serving(database, clock) as address:
        patch.setattr(module, "TIMEOUT_S", 60.0)  # A slow machine must not count as an unreachable provider.
        text = SETTINGS.format(page=address, issuer=provider.address, more=more)
        # The address of the page is known only after its start.
        address.app.state.context.config = parse_service(text, "test", {"SLOPEWARD_OIDC__CLIENT_SECRET": SECRET})
        yield address


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def provider(clock):
    with providing(lambda: clock().timestamp()) as running_provider:
        yield running_provider


@pytest.fixture
def page(provider, filled_database, clock):
    with page_with(provider, filled_database, clock) as address:
        yield address


def open_browser(page):
    return httpx.Client(base_url=page, timeout=60, trust_env=False, verify=False)


def log_in_by_password(page, name):
    with open_browser(page) as browser:
        return browser.post("/login", data={"name": name, "password": PASSWORD}).status_code


@pytest.fixture
def browse(page):
    opened = []

    def open_another():
        opened.append(open_browser(page))
        return opened[-1]

    yield open_another
    for browser in opened:
        browser.close()


def start_login(browser, to="/"):
    """Log in at the provider. Return the address to which the provider redirects the browser."""
    away = browser.get("/login/oidc", params={"to": to})
    assert away.status_code == 303, away.text
    return browser.get(away.headers["location"]).headers["location"]


def log_in(browser, to="/"):
    return browser.get(start_login(browser, to))


def read_error(answer):
    return html.unescape(re.search(r'role="alert">([^<]+)', answer.text)[1].strip())


def read_account(browser):
    match = re.search(r'<a class="name" href="/account" title="(\w+)">([^<]*)', browser.get("/").text)
    return None if match is None else (match[2].strip(), match[1])


def entries(database, action):
    with database.read() as c:
        assert (verify_chain(c), [line for line in find_unsealed(c) if "user_account" in line]) == ([], [])
        return load_entries(c, 20, action=action)


def change_claims(**changes):
    return lambda claims: {k: v for k, v in (claims | changes).items() if v is not None}


def test_groups_of_the_provider_set_role_and_sites_at_each_login(browse, provider, filled_database):
    browser = browse()
    answer = log_in(browser, "/sites/lake-slope")
    assert (answer.status_code, 'content="0;url=/sites/lake-slope"' in answer.text) == (200, True)
    assert read_account(browser) == ("ida", "operator")
    assert browser.post("/sites/north-bench/report", data={"kind": "crack", "text": "x y z"}).status_code == 403
    (made,), (login,) = entries(filled_database, "user.add")[:1], entries(filled_database, "login")[:1]
    assert (made.actor, made.detail["subject"], made.detail["issuer"]) == ("ida", SUBJECT, provider.address)
    assert (login.actor, login.detail["by"]) == ("ida", "oidc")
    with filled_database.read() as c:
        ida = users.find_user(c, "ida")
    assert (ida.sites, ida.has_password) == (frozenset({"lake-slope"}), False)
    assert browser.post("/login", data={"name": "ida", "password": users.NO_PASSWORD}).status_code == 401
    # Name and groups change at the provider: the account stays the same, and its old session ends.
    provider.person |= {"preferred_username": "ida.married", "groups": ["duty", "chiefs"]}
    other = browse()
    log_in(other)
    assert (read_account(other), read_account(browser)) == (("ida", "admin"), None)
    (changed,) = entries(filled_database, "user.role")[:1]
    assert (changed.subject, changed.detail["to"], changed.detail["by"]) == ("user:ida", "admin", "oidc")
    # Without a group that has a role, the login is refused and open sessions end.
    provider.person |= {"groups": ["staff"]}
    answer = log_in(browse())
    assert (answer.status_code, "none of your groups" in read_error(answer)) == (403, True)
    assert read_account(other) is None


def test_account_is_not_bound_by_name_or_mail_address(browse, provider, filled_database):
    provider.person = {"sub": "6", "preferred_username": "ADA", "email": "ada@x", "groups": ["chiefs"]}
    answer = log_in(browse())
    assert answer.status_code == 403
    assert "an admin binds it: slopeward people users oidc ada --subject 6" in read_error(answer)
    tell(filled_database, bind_person, "ada", provider.address, "6")
    browser = browse()
    log_in(browser)
    assert read_account(browser) == ("ada", "admin")
    provider.person["sub"] = "7"  # another person with the same name
    assert log_in(browse()).status_code == 403
    with filled_database.write() as c:
        users.disable_user(c, "bo", NOW)
        bind_person(c, "bo", provider.address, "8")
        with pytest.raises(users.RefusedError, match="'ada' already"):
            bind_person(c, "bo", provider.address, "6")
    provider.person |= {"sub": "8", "groups": ["duty"]}
    assert "locked" in read_error(log_in(browse()))


def test_groups_are_read_from_nested_claims_and_from_userinfo(provider, filled_database, clock):
    with page_with(provider, filled_database, clock, 'groups_claim = "realm_access.roles"') as page:
        provider.person["realm_access"] = {"roles": ["offline_access", "chiefs"]}
        assert log_in_and_read_account(page) == ("ida", "admin"), "Keycloak nests roles; the claim `groups` is ignored"
        provider.bend = change_claims(realm_access=None)
        assert log_in_and_read_account(page) is None, "no source contains groups"
        provider.userinfo = lambda claims: {"sub": claims["sub"], "realm_access": {"roles": ["duty"]}}
        assert log_in_and_read_account(page) == ("ida", "operator"), "the groups come from the userinfo endpoint"
        provider.bend = change_claims(realm_access={"roles": []})
        assert log_in_and_read_account(page) is None, "the signed token takes precedence over userinfo"
        provider.bend = change_claims(realm_access=None)
        provider.userinfo = lambda _: {"sub": "6", "realm_access": {"roles": ["chiefs"]}}
        assert log_in_and_read_account(page) is None, "userinfo of another person is refused"
        provider.told.clear()
        provider.userinfo = lambda claims: {**claims, "realm_access": {"roles": ["chiefs"]}, "sub": "248289761001"}
        assert log_in_and_read_account(page) == ("ida", "admin")
    whys = [e.detail["why"] for e in entries(filled_database, "login.refused")]
    with page_with(provider, filled_database, clock, 'groups_claim = "resource_access.slopeward.roles"') as page:
        provider.bend = change_claims(realm_access=None, resource_access={"account": {"roles": ["view-profile"]}})
        provider.userinfo = lambda claims: {**claims, "resource_access": {"slopeward": {"roles": ["duty"]}}}
        assert log_in_and_read_account(page) == ("ida", "operator"), (
            "roles of another client in the token must not hide the roles in userinfo"
        )
    assert "its userinfo belongs to another person" in whys


def log_in_and_read_account(page):
    with open_browser(page) as browser:
        log_in(browser)
        return read_account(browser)


@pytest.fixture
def phone_code(provider, filled_database, tmp_path, monkeypatch):
    """Create the account ida with a second factor. Return a function that returns the code at an instant."""
    monkeypatch.chdir(tmp_path)  # `paths.state` contains the key of the vault.
    with filled_database.write() as c:
        users.add_user(c, "ida", None, "operator", NOW)
        bind_person(c, "ida", provider.address, SUBJECT)
        address = add_second_factor(c, open_vault(parse_service("", "test")), "ida", NOW)
    secret = parse_qs(urlsplit(address).query)["secret"][0]
    return lambda at: code_of(secret, int(at.timestamp()) // 30)


PROVED = {"two factors": {"amr": ["pwd", "otp"]}, "acr": {"acr": "gold"}}
NOT_PROVED = {"two methods of one factor": {"amr": ["pwd", "pin"], "acr": "silver"}}


def test_login_through_the_provider_asks_for_the_code_of_the_account(
    page, browse, provider, clock, phone_code, filled_database
):
    browser = browse()
    answer = log_in(browser, "/sites/lake-slope")
    assert (answer.status_code, "One more step" in answer.text) == (200, True)
    assert read_account(browser) is None, "the login is not complete yet"
    wrong = browser.post("/login/oidc/code", data={"code": "000000"})
    assert (wrong.status_code, read_error(wrong)) == (401, "The code is wrong, or was used already.")
    code = {"code": phone_code(clock())}
    assert browse().post("/login/oidc/code", data=code).status_code == 401, "another browser has no pending login"
    elsewhere = {"Origin": "https://evil.example.org"}
    assert browser.post("/login/oidc/code", data=code, headers=elsewhere).status_code == 403
    right = browser.post("/login/oidc/code", data=code)
    assert (right.status_code, right.headers["location"]) == (303, "/sites/lake-slope")
    assert read_account(browser) == ("ida", "operator")
    assert browser.post("/login/oidc/code", data=code).status_code == 401, "the pending login has ended"
    again = browse()
    log_in(again)
    assert again.post("/login/oidc/code", data=code).status_code == 401, "a code is valid once"
    logins = [(e.action, e.detail.get("second_factor")) for e in entries(filled_database, "login")]
    assert logins[0] == ("login", "ours")
    provider.person["amr"] = ["pwd", "otp"]
    assert log_in_and_read_account(page) == ("ida", "operator"), "the provider confirms a second factor"
    assert entries(filled_database, "login")[0].detail["second_factor"] == "provider"


def test_wrong_codes_after_a_login_through_the_provider_are_limited(page, browse, clock, phone_code):
    browser = browse()
    log_in(browser)
    codes = [browser.post("/login/oidc/code", data={"code": f"{k:06d}"}).status_code for k in range(6)]
    assert codes == [401] * 5 + [429]
    other = browse()
    log_in(other)
    right = other.post("/login/oidc/code", data={"code": phone_code(clock())})
    assert (right.status_code, read_account(other)) == (429, None), (
        "a new login does not reset the count of wrong codes"
    )
    assert log_in_by_password(page, "ada") == 303


def test_pending_login_ends_when_the_account_is_locked(browse, clock, phone_code, filled_database):
    browser = browse()
    log_in(browser)
    tell(filled_database, users.disable_user, "ida", NOW)
    answer = browser.post("/login/oidc/code", data={"code": phone_code(clock())})
    assert (answer.status_code, read_account(browser)) == (401, None)


def test_setting_decides_which_second_factor_a_login_needs(provider, filled_database, clock, phone_code):
    results = {}
    for mode in ("either", "provider", "ours"):
        more = f'second_factor = "{mode}"\nsecond_factor_acr = ["gold"]'
        with page_with(provider, filled_database, clock, more) as page:
            for sub in (SUBJECT, "77"):  # with and without a second factor in this service
                for name, claims in {**PROVED, **NOT_PROVED}.items():
                    provider.person = {"sub": sub, "preferred_username": f"p{sub}", "groups": ["duty"], **claims}
                    results[mode, sub, name] = log_in_and_read_account(page) is not None
    for (mode, sub, name), is_in in results.items():
        mine, proved = sub == SUBJECT, name in PROVED
        wanted = {"either": proved or not mine, "provider": proved, "ours": False}[mode]
        assert is_in is wanted, (mode, sub, name)
    why = {e.detail["why"] for e in entries(filled_database, "login.refused")}
    assert any("Canton has not confirmed a second factor" in reason for reason in why)
    assert "p77 has no second factor here. An admin sets one up: slopeward people users totp p77." in why


def test_refused_login_without_second_factor_ends_no_session(provider, filled_database, clock):
    with page_with(provider, filled_database, clock, 'second_factor = "provider"') as page:
        provider.person["amr"] = ["pwd", "otp"]
        with open_browser(page) as browser:
            log_in(browser)
            provider.person["amr"] = ["pwd"]
            assert log_in_and_read_account(page) is None
            assert read_account(browser) == ("ida", "operator"), "the open session must not end"


ATTACKS = {
    "wrong nonce": lambda p: setattr(p, "bend", change_claims(nonce="x" * 32)),
    "no nonce": lambda p: setattr(p, "bend", change_claims(nonce=None)),
    "wrong audience": lambda p: setattr(p, "bend", change_claims(aud="another-client")),
    "two audiences, issued for the other one": lambda p: setattr(
        p, "bend", change_claims(aud=[CLIENT, "other"], azp="other")
    ),
    "wrong issuer": lambda p: setattr(p, "bend", change_claims(iss="https://evil.example.org")),
    "no subject": lambda p: setattr(p, "bend", change_claims(sub=None)),
    "empty subject": lambda p: setattr(p, "bend", change_claims(sub="")),
    "no expiry": lambda p: setattr(p, "bend", change_claims(exp=None)),
    "expired": lambda p: setattr(p, "bend", lambda c: c | {"iat": c["iat"] - 900, "exp": c["iat"] - LEEWAY_S - 1}),
    "issued in the future": lambda p: setattr(p, "bend", lambda c: c | {"iat": c["iat"] + 600, "exp": c["iat"] + 900}),
    "another access token": lambda p: setattr(p, "bend", change_claims(at_hash="x" * 22)),
    "alg none": lambda p: setattr(p, "sign", p.without_signature),
    "HS256 with the public key": lambda p: setattr(p, "sign", p.by_public_key),
    "another key": lambda p: setattr(p, "key", KEYS["stranger"]),
    "another key with a known key id": lambda p: setattr(
        p, "sign", lambda c: p.spell(c, KEYS["stranger"], kid="first")
    ),
    "no token": lambda p: setattr(p, "sign", lambda _: None),
}


def test_invalid_id_token_is_refused(browse, provider, page, filled_database):
    wrong = []
    for name, attack in ATTACKS.items():
        unchanged = vars(provider).copy()
        attack(provider)
        browser = browse()
        answer = log_in(browser)
        if (answer.status_code, read_account(browser)) != (401, None) or "could not be verified" not in answer.text:
            wrong.append(f"{name}: {answer.status_code}, {read_account(browser)}")
        vars(provider).update(unchanged)
        # Forget the failure. Otherwise the next attacks would be refused because of many failures.
        page.app.state.login_throttle.note("oidc:host:127.0.0.1", failed=False)
    assert not wrong
    refusals = entries(filled_database, "login.refused")
    assert [e.actor for e in refusals] == ["unknown"] * len(ATTACKS)
    assert all(e.detail["why"] for e in refusals)
    assert log_in(browse()).status_code == 200, "the provider works without the attacks"


def return_twice(browse):
    """Send the answer of the provider twice with the same cookies. Return the second browser and its status."""
    browser = browse()
    back = start_login(browser)
    cookies = dict(browser.cookies)
    assert browser.get(back).status_code == 200
    again = browse()
    for name, value in cookies.items():
        again.cookies.set(name, value, domain="127.0.0.1", path="/")
    return again, again.get(back).status_code


@pytest.mark.usefixtures("filled_database")
def test_answer_of_the_provider_is_accepted_once(browse, provider):
    assert return_twice(browse)[1] == 401, "the provider refuses a used code"
    provider.forgets_codes = True
    again, status = return_twice(browse)
    assert (status, read_account(again)) == (401, None), "this service refuses a used answer too"


@pytest.mark.usefixtures("filled_database")
def test_answer_to_a_login_of_another_browser_is_refused(browse):
    thief, victim = browse(), browse()
    back = start_login(thief)
    for begun in (False, True):
        if begun:
            start_login(victim)
        answer = victim.get(back)
        assert (answer.status_code, read_account(victim)) == (401, None)
        assert "another browser" in read_error(answer)
    stolen = parse_qs(urlsplit(start_login(thief)).query)["code"][0]
    back = urlsplit(start_login(victim))
    answer = victim.get(f"{back.path}?code={stolen}&state={parse_qs(back.query)['state'][0]}")
    assert (answer.status_code, read_account(victim)) == (401, None), (
        "a code is valid only with the verifier of its browser"
    )


@pytest.mark.usefixtures("filled_database")
def test_login_redirects_only_to_this_page(browse):
    for to in ("//evil.example.org", "https://evil.example.org/", "/\\evil.example.org", "javascript:alert(1)"):
        assert 'content="0;url=/"' in log_in(browse(), to).text, to
    browser = browse()
    back = start_login(browser)
    browser.cookies.set("slopeward_goal", b"//evil.example.org".hex(), domain="127.0.0.1", path="/")
    assert 'content="0;url=/"' in browser.get(back).text


@pytest.mark.usefixtures("filled_database")
def test_failed_logins_are_limited_and_text_of_the_provider_is_not_shown(browse, provider):
    provider.bend = change_claims(aud="another-client")
    assert [log_in(browse()).status_code for _ in range(6)] == [401] * 5 + [429]
    browser = browse()
    back = urlsplit(start_login(browser))
    state = parse_qs(back.query)["state"][0]
    answer = browser.get(f"{back.path}?state={state}&error=%3Cb%3Ecall+0900")
    assert (answer.status_code, read_error(answer)) == (401, "Canton refused the login: without a code. Try again.")


@pytest.mark.usefixtures("filled_database")
def test_new_key_is_accepted_and_revoked_key_refused_at_once(browse, provider):
    assert log_in(browse()).status_code == 200
    provider.key, provider.published = KEYS["second"], [KEYS["first"], KEYS["second"]]
    assert log_in(browse()).status_code == 200
    provider.published = [KEYS["first"]]
    assert log_in(browse()).status_code == 401


@pytest.mark.usefixtures("filled_database")
@pytest.mark.parametrize("off_s", [-LEEWAY_S + 5, LEEWAY_S - 5])
def test_clock_of_the_provider_may_differ_by_a_minute(browse, provider, clock, off_s):
    provider.now = lambda: (clock() + timedelta(seconds=off_s)).timestamp()
    provider.bend = lambda claims: claims | {"exp": claims["iat"] + 1}
    assert log_in(browse()).status_code == 200


def test_unreachable_provider_is_reported_and_passwords_still_work(provider, filled_database, clock):
    def ask(address):
        with open_browser(address) as browser:
            answer = browser.get("/login/oidc")
        return answer.status_code, read_error(answer)

    with page_with(provider, filled_database, clock) as address:
        provider.calls_itself = "https://other.example.org"
        status, line = ask(address)
        assert (status, "its name is 'https://other.example.org'" in line) == (503, True)
    with providing() as ended:
        pass
    with page_with(ended, filled_database, clock) as address:
        status, line = ask(address)
        assert status == 503
        assert line.startswith("The login of Canton does not work now: no answer from 127.0.0.1:")
        assert line.endswith("Try again, or log in below with an account with a password.")
        assert log_in_by_password(address, "bo") == 303


def test_passwords_can_be_limited_to_emergency_accounts(provider, filled_database, clock):
    with page_with(provider, filled_database, clock, 'only = true\nemergency = ["ada"]') as address:
        assert [log_in_by_password(address, name) for name in ("bo", "ada")] == [401, 303]
        with open_browser(address) as browser:
            form = browser.get("/login").text
    assert form.index("Log in with Canton") < form.index("In an emergency: with a password")


def test_without_a_provider_the_login_page_offers_none(filled_database, clock):
    with serving(filled_database, clock) as address, open_browser(address) as browser:
        assert browser.get("/login/oidc").status_code == 404
        assert "Log in with" not in browser.get("/login").text


@tabulated(
    ("text", "line"),
    [
        ('issuer = "http://id.example.org"\nclient_id = "x"', "expected an address such as https://id.example.org"),
        ('issuer = "https://id.example.org"', "expected client_id"),
        ('issuer = "https://id.example.org"\nclient_id = "x"', "expected [oidc.roles]"),
        ("only = true", "expected an issuer, and emergency"),
        ('client_secret = "x"', "a secret must not be in this file; set SLOPEWARD_OIDC__CLIENT_SECRET"),
        ('scope = "profile"', "oidc.scope"),
    ],
)
def test_invalid_settings_of_the_provider_are_refused(text, line):
    with pytest.raises(ConfigError, match=re.escape(line)):
        parse_service(f"[oidc]\n{text}\n", "test")


def test_database_contains_no_secret_of_the_provider(browse, filled_database):
    assert log_in(browse()).status_code == 200
    with filled_database.read() as c:
        assert SECRET not in str(c.execute(select(audit_entry)).all())
