"""What is said of the sight of a site."""

from monitor.store.pages import SiteCard
from monitor.web.parts.templating import describe_sight

LEVELS = [{"number": 0, "name": "green"}, {"number": 3, "name": "red"}]


def test_a_site_that_catches_up_says_so_whatever_is_seen_of_it() -> None:
    for seen in ("full", "degraded", "blind"):
        cards = [SiteCard("s", "S", 46.0, 9.0, LEVELS, {"catching_up": late}, {"ok": 2}) for late in (True, False)]
        assert ["catching up: readings that waited" in describe_sight(card, seen) for card in cards] == [True, False]
        assert ("decide by other means" in describe_sight(cards[0], seen)) == (seen == "blind")
