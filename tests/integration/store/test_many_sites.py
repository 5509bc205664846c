"""What the overview gathers of many sites: as few questions as for one, and the stage that no station shows now."""

from datetime import UTC, datetime, timedelta

from sqlalchemy import event, insert

from monitor.domain.decision import Memory
from monitor.store import pages
from monitor.store.schema import tables as t
from tests.integration.notify.outbox import add_site

NOW = datetime(2026, 3, 1, tzinfo=UTC)
SITES = 12


def fill(c):
    """Sites of two stations at the stage `slow`; in every third one neither shows it any more.

    In the last one nobody ever did.
    """
    now = {"level": 0, "level_source": "auto", "since": NOW, "evaluated_at": NOW, "observability": "full"}
    now |= {"reachable_level": 0, "witnesses_available": 1, "health": "ok", "movement_stage": "slow", "trend": "steady"}
    now |= {"newest_at": NOW, "config_sha256": "a" * 64, "state": Memory().to_json()}
    for k in range(SITES):
        site = f"s{k:02d}"
        add_site(c, site)
        c.execute(insert(t.site_state).values(site=site, **now))
        for station in ("A", "B"):
            series = {"site": site, "station": station, "quantity": "displacement_norm", "unit": "mm"}
            key = c.execute(insert(t.series).values(created_at=NOW, **series)).inserted_primary_key[0]
            silent = k % 3 == 0 or station == "B"
            for hour, stage in enumerate(("slow", "stable" if silent else "slow")):
                if k < SITES - 1:
                    at = NOW + timedelta(hours=hour)
                    seen = {"at": at, "data_until": at, "stage": stage, "trend": "steady", "reasons": "", "state": {}}
                    c.execute(insert(t.movement).values(series_id=key, **seen))


def test_the_stage_of_many_sites_is_found_by_few_queries(database):
    with database.write() as c:
        fill(c)
    sent = []
    event.listen(database.engine, "before_cursor_execute", lambda _c, _u, statement, *_: sent.append(statement))
    with database.read() as c:
        cards = pages.load_cards(c)
        every = len(sent)
        one = pages.load_cards(c, "s03")
    lost = {f"s{k:02d}" for k in range(0, SITES, 3)}
    assert {card.id: card.stage_seen_at for card in cards} == {
        f"s{k:02d}": NOW if f"s{k:02d}" in lost else None for k in range(SITES)
    }
    assert one[0].stage_seen_at == NOW
    assert every <= 5 + len(lost) + 1, "one more for each site of which nobody shows the stage, and no other"
