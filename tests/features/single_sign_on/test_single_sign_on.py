"""Log in by a provider (OpenID Connect): a real one over real HTTP, and whoever pretends to be somebody there."""

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
from monitor.settings.sealed_texts import open_vault
from monitor.settings.service import parse_service
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
        patch.setattr(module, "TIMEOUT_S", 60.0)  # a busy machine is no provider that is down
        text = SETTINGS.format(page=address, issuer=provider.address, more=more)
        # the address of the page is known once it runs
        address.app.state.context.config = parse_service(text, "test", {"SLOPEWARD_OIDC__CLIENT_SECRET": SECRET})
        yield address


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def provider(clock):
    with providing(lambda: clock().timestamp()) as found:
        yield found


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

    def open_one():
        opened.append(open_browser(page))
        return opened[-1]

    yield open_one
    for one in opened:
        one.close()


def leave(browser, to="/"):
    """Go to the provider and log in there; gives the address to come back to."""
    away = browser.get("/login/oidc", params={"to": to})
    assert away.status_code == 303, away.text
    return browser.get(away.headers["location"]).headers["location"]


def come(browser, to="/"):
    return browser.get(leave(browser, to))


def said(answer):
    return html.unescape(re.search(r'role="alert">([^<]+)', answer.text)[1].strip())


def who(browser):
    found = re.search(r'<a class="name" href="/account" title="(\w+)">([^<]*)', browser.get("/").text)
    return None if found is None else (found[2].strip(), found[1])


def entries(database, action):
    with database.read() as c:
        assert (verify_chain(c), [line for line in find_unsealed(c) if "user_account" in line]) == ([], [])
        return load_entries(c, 20, action=action)


def bent(**changes):
    return lambda claims: {k: v for k, v in (claims | changes).items() if v is not None}


def test_a_person_of_the_provider_comes_in_with_role_and_sites_of_the_groups(browse, provider, filled_database):
    browser = browse()
    answer = come(browser, "/sites/lake-slope")
    assert (answer.status_code, 'content="0;url=/sites/lake-slope"' in answer.text) == (200, True)
    assert who(browser) == ("ida", "operator")
    assert browser.post("/sites/north-bench/report", data={"kind": "crack", "text": "x y z"}).status_code == 403
    (made,), (login,) = entries(filled_database, "user.add")[:1], entries(filled_database, "login")[:1]
    assert (made.actor, made.detail["subject"], made.detail["issuer"]) == ("ida", SUBJECT, provider.address)
    assert (login.actor, login.detail["by"]) == ("ida", "oidc")
    with filled_database.read() as c:
        ida = users.find_user(c, "ida")
    assert (ida.sites, ida.has_password) == (frozenset({"lake-slope"}), False)
    assert browser.post("/login", data={"name": "ida", "password": users.NO_PASSWORD}).status_code == 401
    # another name and another group at the provider: the same person, the same account, and the old session ends
    provider.person |= {"preferred_username": "ida.married", "groups": ["duty", "chiefs"]}
    other = browse()
    come(other)
    assert (who(other), who(browser)) == (("ida", "admin"), None)
    (changed,) = entries(filled_database, "user.role")[:1]
    assert (changed.subject, changed.detail["to"], changed.detail["by"]) == ("user:ida", "admin", "oidc")
    # what the provider takes back ends here as well
    provider.person |= {"groups": ["staff"]}
    answer = come(browse())
    assert (answer.status_code, "none of your groups" in said(answer)) == (403, True)
    assert who(other) is None


def test_a_name_or_mail_address_binds_nobody(browse, provider, filled_database):
    provider.person = {"sub": "6", "preferred_username": "ADA", "email": "ada@x", "groups": ["chiefs"]}
    answer = come(browse())
    assert answer.status_code == 403
    assert "an admin binds it: slopeward people users oidc ada --subject 6" in said(answer)
    tell(filled_database, bind_person, "ada", provider.address, "6")
    browser = browse()
    come(browser)
    assert who(browser) == ("ada", "admin")
    provider.person["sub"] = "7"  # another person of the same name
    assert come(browse()).status_code == 403
    with filled_database.write() as c:
        users.disable_user(c, "bo", NOW)
        bind_person(c, "bo", provider.address, "8")
        with pytest.raises(users.RefusedError, match="'ada' already"):
            bind_person(c, "bo", provider.address, "6")
    provider.person |= {"sub": "8", "groups": ["duty"]}
    assert "locked" in said(come(browse()))


def test_groups_are_found_where_keycloak_puts_them_and_where_the_token_leaves_them_out(
    provider, filled_database, clock
):
    with page_with(provider, filled_database, clock, 'groups_claim = "realm_access.roles"') as page:
        provider.person["realm_access"] = {"roles": ["offline_access", "chiefs"]}
        assert enter_by(page) == ("ida", "admin"), "as Keycloak nests them; the claim `groups` counts no more"
        provider.bend = bent(realm_access=None)
        assert enter_by(page) is None, "neither in the token nor anywhere else"
        provider.userinfo = lambda claims: {"sub": claims["sub"], "realm_access": {"roles": ["duty"]}}
        assert enter_by(page) == ("ida", "operator"), "asked for at the userinfo endpoint"
        provider.bend = bent(realm_access={"roles": []})
        assert enter_by(page) is None, "the signed token goes first"
        provider.bend = bent(realm_access=None)
        provider.userinfo = lambda _: {"sub": "6", "realm_access": {"roles": ["chiefs"]}}
        assert enter_by(page) is None, "what is told of another person"
        provider.told.clear()
        provider.userinfo = lambda claims: {**claims, "realm_access": {"roles": ["chiefs"]}, "sub": "248289761001"}
        assert enter_by(page) == ("ida", "admin")
    whys = [e.detail["why"] for e in entries(filled_database, "login.refused")]
    with page_with(provider, filled_database, clock, 'groups_claim = "resource_access.slopeward.roles"') as page:
        provider.bend = bent(realm_access=None, resource_access={"account": {"roles": ["view-profile"]}})
        provider.userinfo = lambda claims: {**claims, "resource_access": {"slopeward": {"roles": ["duty"]}}}
        assert enter_by(page) == ("ida", "operator"), "roles of another client in the token hide none of this one"
    assert "its userinfo belongs to another person" in whys


def enter_by(page):
    with open_browser(page) as browser:
        come(browser)
        return who(browser)


@pytest.fixture
def telephone(provider, filled_database, tmp_path, monkeypatch):
    """Ida has an account with a second factor here; gives the code of an instant."""
    monkeypatch.chdir(tmp_path)  # the key of the vault lies in `paths.state`
    with filled_database.write() as c:
        users.add_user(c, "ida", None, "operator", NOW)
        bind_person(c, "ida", provider.address, SUBJECT)
        address = add_second_factor(c, open_vault(parse_service("", "test")), "ida", NOW)
    secret = parse_qs(urlsplit(address).query)["secret"][0]
    return lambda at: code_of(secret, int(at.timestamp()) // 30)


PROVED = {"two ways": {"amr": ["pwd", "otp"]}, "acr": {"acr": "gold"}}
NOT_PROVED = {"two words for one way": {"amr": ["pwd", "pin"], "acr": "silver"}}


def test_who_has_a_second_factor_here_gives_it_after_a_login_elsewhere_too(
    page, browse, provider, clock, telephone, filled_database
):
    browser = browse()
    answer = come(browser, "/sites/lake-slope")
    assert (answer.status_code, "One more step" in answer.text) == (200, True)
    assert who(browser) is None, "nobody is in yet"
    wrong = browser.post("/login/oidc/code", data={"code": "000000"})
    assert (wrong.status_code, said(wrong)) == (401, "The code is wrong, or was used already.")
    code = {"code": telephone(clock())}
    assert browse().post("/login/oidc/code", data=code).status_code == 401, "another browser began nothing"
    elsewhere = {"Origin": "https://evil.example.org"}
    assert browser.post("/login/oidc/code", data=code, headers=elsewhere).status_code == 403
    right = browser.post("/login/oidc/code", data=code)
    assert (right.status_code, right.headers["location"]) == (303, "/sites/lake-slope")
    assert who(browser) == ("ida", "operator")
    assert browser.post("/login/oidc/code", data=code).status_code == 401, "what was begun has ended"
    again = browse()
    come(again)
    assert again.post("/login/oidc/code", data=code).status_code == 401, "a code counts once"
    told = [(e.action, e.detail.get("second_factor")) for e in entries(filled_database, "login")]
    assert told[0] == ("login", "ours")
    provider.person["amr"] = ["pwd", "otp"]
    assert enter_by(page) == ("ida", "operator"), "the provider proves one"
    assert entries(filled_database, "login")[0].detail["second_factor"] == "provider"


def test_codes_after_a_login_elsewhere_are_not_guessed(page, browse, clock, telephone):
    browser = browse()
    come(browser)
    codes = [browser.post("/login/oidc/code", data={"code": f"{k:06d}"}).status_code for k in range(6)]
    assert codes == [401] * 5 + [429]
    other = browse()
    come(other)
    right = other.post("/login/oidc/code", data={"code": telephone(clock())})
    assert (right.status_code, who(other)) == (429, None), "a new login gives no new tries"
    assert log_in_by_password(page, "ada") == 303


def test_a_login_that_waits_for_its_code_ends_with_the_account(browse, clock, telephone, filled_database):
    browser = browse()
    come(browser)
    tell(filled_database, users.disable_user, "ida", NOW)
    answer = browser.post("/login/oidc/code", data={"code": telephone(clock())})
    assert (answer.status_code, who(browser)) == (401, None)


def test_who_proves_a_second_factor_is_said_by_the_settings(provider, filled_database, clock, telephone):
    found = {}
    for mode in ("either", "provider", "ours"):
        more = f'second_factor = "{mode}"\nsecond_factor_acr = ["gold"]'
        with page_with(provider, filled_database, clock, more) as page:
            for sub in (SUBJECT, "77"):  # with a second factor here, and without
                for name, claims in {**PROVED, **NOT_PROVED}.items():
                    provider.person = {"sub": sub, "preferred_username": f"p{sub}", "groups": ["duty"], **claims}
                    found[mode, sub, name] = enter_by(page) is not None
    for (mode, sub, name), is_in in found.items():
        mine, proved = sub == SUBJECT, name in PROVED
        wanted = {"either": proved or not mine, "provider": proved, "ours": False}[mode]
        assert is_in is wanted, (mode, sub, name)
    why = {e.detail["why"] for e in entries(filled_database, "login.refused")}
    assert any("Canton has not confirmed a second factor" in one for one in why)
    assert "p77 has no second factor here. An admin sets one up: slopeward people users totp p77." in why


def test_a_thief_without_the_second_factor_throws_nobody_out(provider, filled_database, clock):
    with page_with(provider, filled_database, clock, 'second_factor = "provider"') as page:
        provider.person["amr"] = ["pwd", "otp"]
        with open_browser(page) as browser:
            come(browser)
            provider.person["amr"] = ["pwd"]
            assert enter_by(page) is None
            assert who(browser) == ("ida", "operator"), "who is in stays in"


ATTACKS = {
    "wrong nonce": lambda p: setattr(p, "bend", bent(nonce="x" * 32)),
    "no nonce": lambda p: setattr(p, "bend", bent(nonce=None)),
    "wrong audience": lambda p: setattr(p, "bend", bent(aud="another-client")),
    "for two, by the other": lambda p: setattr(p, "bend", bent(aud=[CLIENT, "other"], azp="other")),
    "wrong issuer": lambda p: setattr(p, "bend", bent(iss="https://evil.example.org")),
    "no subject": lambda p: setattr(p, "bend", bent(sub=None)),
    "empty subject": lambda p: setattr(p, "bend", bent(sub="")),
    "no end": lambda p: setattr(p, "bend", bent(exp=None)),
    "expired": lambda p: setattr(p, "bend", lambda c: c | {"iat": c["iat"] - 900, "exp": c["iat"] - LEEWAY_S - 1}),
    "of the future": lambda p: setattr(p, "bend", lambda c: c | {"iat": c["iat"] + 600, "exp": c["iat"] + 900}),
    "another access token": lambda p: setattr(p, "bend", bent(at_hash="x" * 22)),
    "alg none": lambda p: setattr(p, "sign", p.without_signature),
    "HS256 with the public key": lambda p: setattr(p, "sign", p.by_public_key),
    "a stranger's key": lambda p: setattr(p, "key", KEYS["stranger"]),
    "a stranger's key under a known name": lambda p: setattr(
        p, "sign", lambda c: p.spell(c, KEYS["stranger"], kid="first")
    ),
    "no token": lambda p: setattr(p, "sign", lambda _: None),
}


def test_a_token_that_proves_nothing_lets_nobody_in(browse, provider, page, filled_database):
    wrong = []
    for name, attack in ATTACKS.items():
        kept = vars(provider).copy()
        attack(provider)
        browser = browse()
        answer = come(browser)
        if (answer.status_code, who(browser)) != (401, None) or "could not be verified" not in answer.text:
            wrong.append(f"{name}: {answer.status_code}, {who(browser)}")
        vars(provider).update(kept)
        page.app.state.login_throttle.note("oidc:host:127.0.0.1", failed=False)  # so many failures are slowed down
    assert not wrong
    told = entries(filled_database, "login.refused")
    assert [e.actor for e in told] == ["unknown"] * len(ATTACKS)
    assert all(e.detail["why"] for e in told)
    assert come(browse()).status_code == 200, "the provider itself was never the reason"


def come_twice(browse):
    """Come back from the provider, and once more to the same address with the same cookies; who came last, and how."""
    browser = browse()
    back = leave(browser)
    kept = dict(browser.cookies)
    assert browser.get(back).status_code == 200
    again = browse()
    for name, value in kept.items():
        again.cookies.set(name, value, domain="127.0.0.1", path="/")
    return again, again.get(back).status_code


@pytest.mark.usefixtures("filled_database")
def test_an_answer_counts_once(browse, provider):
    assert come_twice(browse)[1] == 401, "the provider knows that the code was used"
    provider.forgets_codes = True
    again, status = come_twice(browse)
    assert (status, who(again)) == (401, None), "and so do we"


@pytest.mark.usefixtures("filled_database")
def test_what_another_browser_began_lets_nobody_in(browse):
    thief, victim = browse(), browse()
    back = leave(thief)
    for begun in (False, True):
        if begun:
            leave(victim)
        answer = victim.get(back)
        assert (answer.status_code, who(victim)) == (401, None)
        assert "another browser" in said(answer)
    stolen = parse_qs(urlsplit(leave(thief)).query)["code"][0]
    own = urlsplit(leave(victim))
    answer = victim.get(f"{own.path}?code={stolen}&state={parse_qs(own.query)['state'][0]}")
    assert (answer.status_code, who(victim)) == (401, None), "a code goes with the verifier of its browser"


@pytest.mark.usefixtures("filled_database")
def test_login_leads_to_this_page_alone(browse):
    for to in ("//evil.example.org", "https://evil.example.org/", "/\\evil.example.org", "javascript:alert(1)"):
        assert 'content="0;url=/"' in come(browse(), to).text, to
    browser = browse()
    back = leave(browser)
    browser.cookies.set("slopeward_goal", b"//evil.example.org".hex(), domain="127.0.0.1", path="/")
    assert 'content="0;url=/"' in browser.get(back).text


@pytest.mark.usefixtures("filled_database")
def test_failures_are_slowed_down_and_what_the_provider_says_is_no_text_of_ours(browse, provider):
    provider.bend = bent(aud="another-client")
    assert [come(browse()).status_code for _ in range(6)] == [401] * 5 + [429]
    browser = browse()
    back = urlsplit(leave(browser))
    state = parse_qs(back.query)["state"][0]
    answer = browser.get(f"{back.path}?state={state}&error=%3Cb%3Ecall+0900")
    assert (answer.status_code, said(answer)) == (401, "Canton refused the login: without a code. Try again.")


@pytest.mark.usefixtures("filled_database")
def test_a_new_key_counts_at_once_and_one_taken_back_no_more(browse, provider):
    assert come(browse()).status_code == 200
    provider.key, provider.published = KEYS["second"], [KEYS["first"], KEYS["second"]]
    assert come(browse()).status_code == 200
    provider.published = [KEYS["first"]]
    assert come(browse()).status_code == 401


@pytest.mark.usefixtures("filled_database")
@pytest.mark.parametrize("off_s", [-LEEWAY_S + 5, LEEWAY_S - 5])
def test_the_clock_of_the_provider_may_be_a_minute_off(browse, provider, clock, off_s):
    provider.now = lambda: (clock() + timedelta(seconds=off_s)).timestamp()
    provider.bend = lambda claims: claims | {"exp": claims["iat"] + 1}
    assert come(browse()).status_code == 200


def test_a_provider_that_is_down_is_one_line_and_the_local_login_works(provider, filled_database, clock):
    def ask(address):
        with open_browser(address) as browser:
            answer = browser.get("/login/oidc")
        return answer.status_code, said(answer)

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


def test_passwords_can_be_switched_off_but_for_an_emergency(provider, filled_database, clock):
    with page_with(provider, filled_database, clock, 'only = true\nemergency = ["ada"]') as address:
        assert [log_in_by_password(address, name) for name in ("bo", "ada")] == [401, 303]
        with open_browser(address) as browser:
            form = browser.get("/login").text
    assert form.index("Log in with Canton") < form.index("In an emergency: with a password")


def test_without_a_provider_nothing_is_offered(filled_database, clock):
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
        ('client_secret = "x"', "a secret stands in no file; set SLOPEWARD_OIDC__CLIENT_SECRET"),
        ('scope = "profile"', "oidc.scope"),
    ],
)
def test_a_setting_that_cannot_work_is_refused(text, line):
    with pytest.raises(ConfigError, match=re.escape(line)):
        parse_service(f"[oidc]\n{text}\n", "test")


def test_the_database_holds_no_secret_of_the_provider(browse, filled_database):
    assert come(browse()).status_code == 200
    with filled_database.read() as c:
        assert SECRET not in str(c.execute(select(audit_entry)).all())
