"""Log in through a provider in Chromium, where strict cookies are not sent after a redirect from another site."""

import pytest

from tests.browser.test_web_browser import chromium  # noqa: F401 - a fixture
from tests.data.servers.oidc_provider import providing
from tests.features.single_sign_on.test_single_sign_on import page_with
from tests.web.test_door import Clock

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.mark.soak
@pytest.mark.parametrize("filled_database", ["sqlite"], indirect=True)
def test_login_through_a_provider_on_another_site(chromium, filled_database):  # noqa: F811
    clock = Clock()
    # For a browser, localhost and 127.0.0.1 are different sites.
    with (
        providing(lambda: clock().timestamp(), "localhost") as provider,
        page_with(provider, filled_database, clock) as page,
    ):
        provider.asks = True
        tab = chromium.new_context(viewport={"width": 1000, "height": 800}).new_page()
        tab.goto(f"{page}/login?to=/account")
        tab.get_by_role("link", name="Log in with Canton").click()
        tab.get_by_role("link", name="Yes, it is me").click()
        tab.wait_for_url(f"{page}/account")
        assert tab.locator("a.name").inner_text() == "ida"
        assert tab.locator("h1").inner_text().startswith("ida")
