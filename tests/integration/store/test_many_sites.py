"""What the overview gathers of many sites: as few questions as for one, and the stage that no station shows now."""

from datetime import UTC, datetime, timedelta

from sqlalchemy import event, insert

from monitor.domain.decision import Memory
from monitor.store import pages
from monitor.store.schema import tables as t

NOW = datetime(2026, 3, 1, tzinfo=UTC)
SITES = 12


def fill(c):
    """Sites of two stations at the stage `slow`; in every third one neither shows it any more, in the last nobody ever did."""  # noqa: E501
    levels = [{"number": 0, "name": "green", "action": "", "auto_lower": True}]
    for k in range(SITES):
        site = f"s{k:02d}"
        c.execute(
            insert(t.site).values(
                id=site,
                name=site,
                latitude=46.0,
                longitude=8.0,
                timezone="UTC",
                levels=levels,
                config_sha256="a" * 64,
                active=True,
            )
        )
        c.execute(
            insert(t.site_state).values(
                site=site,
                level=0,
                level_source="auto",
                since=NOW,
                evaluated_at=NOW,
                observability="full",
                reachable_level=0,
                witnesses_available=1,
                health="ok",
                movement_stage="slow",
                trend="steady",
                newest_at=NOW,
                config_sha256="a" * 64,
                state=Memory().to_json(),
            )
        )
        for station in ("A", "B"):
            key = c.execute(
                insert(t.series).values(
                    site=site, station=station, quantity="displacement_norm", unit="mm", created_at=NOW
                )
            ).inserted_primary_key[0]
            silent = k % 3 == 0 or station == "B"
            for hour, stage in enumerate(("slow", "stable" if silent else "slow")):
                if k < SITES - 1:
                    at = NOW + timedelta(hours=hour)
                    c.execute(
                        insert(t.movement).values(
                            series_id=key, at=at, data_until=at, stage=stage, trend="steady", reasons="", state={}
                        )
                    )


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
