"""Every detector that a site file may name is trained and served; none counts before this site's record shows it."""

from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import func, insert, select, update

from detection.anomaly.registry import CHECKS, COMPARED, COMPOSITES, NETWORKS, RULES, SITE_RULES, list_served
from monitor.alerting.decision.proof import FEWEST_ISSUES, FEWEST_REVIEWS, find_unproven
from monitor.cli.main import run_verb
from monitor.config.service import ServiceConfig, parse_site
from monitor.domain.alert import Actor
from monitor.domain.observation import Observation
from monitor.domain.site import Site
from monitor.jobs import anomaly
from monitor.jobs.forecasts import train
from monitor.language.vocabulary import WORDS
from monitor.store.alerting.sites import save_site
from monitor.store.database.engine import Database
from monitor.store.readings.observations import add_observations
from monitor.store.scenes.reviews import add_review
from monitor.store.schema import tables as t
from tests.integration.forecasting.test_jobs_forecast import SITE, START, fill

CHEAP = (*COMPOSITES, *RULES, *SITE_RULES, *CHECKS)
WITNESS = """
[[criterion]]
id = "strange"
kind = "anomaly"
stations = ["G*"]
role = "witness"
level = "yellow"
[[criterion]]
id = "soon-fast"
kind = "forecast"
stations = ["G*"]
role = "witness"
yellow = {over = 5.0, window = "7d"}
[[criterion]]
id = "image"
kind = "scene"
role = "witness"
level = "yellow"
"""


@pytest.fixture
def service(tmp_path: Path) -> ServiceConfig:
    return ServiceConfig.model_validate({"paths": {"models": str(tmp_path / "models")}})


def declare(database: Database, text: str, *detectors: str, budget: float) -> Site:
    """A site of the store with these detectors."""
    site = parse_site(text, "jobs.toml")
    with database.write() as c:
        save_site(c, site, "test", "test", START)
    return with_plan(site, *detectors, budget=budget)


def with_plan(site: Site, *detectors: str, budget: float) -> Site:
    return replace(site, anomaly=replace(site.anomaly, detectors=detectors, budget_per_sensor_month=budget))


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)  # the worker knows no database: once is enough
def test_every_detector_without_a_network_is_counted_and_served(database: Database, service: ServiceConfig) -> None:
    assert set(CHEAP) | set(NETWORKS) == set(list_served()) <= set(COMPARED)
    assert set(COMPARED.values()) <= WORDS  # so each has its translation
    site = declare(database, SITE, *CHEAP, budget=float(len(set(CHEAP) - set(CHECKS))))
    site = replace(site, forecast=replace(site.forecast, models=("auto",)))
    now = fill(database, site, 900)
    assert "robust-z: not trained yet" in anomaly.run(database, service, site, now)
    said = train.run(database, service, site, now)
    with database.read() as c:
        cards = {r.kind: r.card for r in c.execute(select(t.model).where(t.model.c.state == "active"))}
    assert set(cards) == set(CHEAP) - set(CHECKS) - set(SITE_RULES), said
    assert "common-mode: no validation score" in said  # too few stations to have something in common
    # the checks spend nothing of the budget
    assert {card["budget_per_sensor_month"] for card in cards.values()} == {1.0}
    assert train.run(database, service, site, now + timedelta(hours=1)).startswith("common-mode: no validation score")
    jump(database, site, now, 60.0)
    later = now + timedelta(days=2)
    anomaly.run(database, service, site, later)
    a = t.anomaly.c
    with database.read() as c:
        rows = c.execute(select(a.detector, func.count(), func.max(a.alerted)).group_by(a.detector)).all()
        hashes = dict(c.execute(select(a.detector, func.max(a.model_hash)).group_by(a.detector)).all())
    assert {r[0] for r in rows} == set(cards)
    assert {r[0] for r in rows if r[2]} >= {"rules", "persistence-z", "robust-z"}
    assert all(hashes.values())
    # another budget asks for other thresholds
    assert "rules" in train.run(database, service, with_plan(site, "rules", budget=2.0), later)


def jump(database: Database, site: Site, now: datetime, size_mm: float) -> None:
    at = now + timedelta(days=1)
    value = 0.3 * ((at - START).total_seconds() / 86400.0) + size_mm
    row = Observation(site.id, "G0", "displacement", "mm", at, at, value)
    with database.write() as c:
        add_observations(c, [row], at)


def test_models_are_witnesses_only_where_the_record_shows_it(database: Database, service: ServiceConfig) -> None:
    site = declare(database, SITE + WITNESS, "rules", "flatline", "replay", budget=1.0)
    now = fill(database, site, 900)

    def said() -> dict[str, str]:
        with database.read() as c:
            lines = find_unproven(c, site, now + timedelta(days=60))
        return {line.split(":")[0].removeprefix("criterion "): line for line in lines}

    first = said()
    assert set(first) == {"strange", "soon-fast", "image"}
    assert "rules has no threshold counted here" in first["strange"]
    assert f"scored at 0 issue times, {FEWEST_ISSUES} are needed" in first["soon-fast"]
    assert f"0 of its outlines were reviewed, {FEWEST_REVIEWS} are needed" in first["image"]
    train.train_one(database, service, site, "anomaly", "rules", now)
    score_forecasts(database, site, now, error_mm=1.0)
    review_outlines(database, site, now, rejected=1)
    assert said() == {}
    with database.write() as c:
        c.execute(update(t.forecast_score).values(error=9.0))
        c.execute(update(t.model).values(card={"may_vote": False, "may_not_vote_because": ["too many alarms"]}))
    review_outlines(database, site, now + timedelta(days=1), rejected=8)
    last = said()
    assert "rules: too many alarms" in last["strange"]
    assert "off by 9 mm on average, persistence by 3 mm" in last["soon-fast"]
    assert "2 of 10 reviewed outlines were accepted" in last["image"]


def score_forecasts(database: Database, site: Site, now: datetime, error_mm: float) -> None:
    """Scored forecasts of seven days at as many issue times as a proof needs."""
    with database.write() as c:
        series_id = c.execute(select(t.series.c.id).where(t.series.c.site == site.id)).scalars().first()
        for k in range(FEWEST_ISSUES):
            issued = now + timedelta(days=k)
            levels = dict.fromkeys(("q025", "q10", "q50", "q90", "q975", "baseline_q50", "data_value"), 0.0)
            target = issued + timedelta(days=7)
            c.execute(
                insert(t.forecast).values(
                    id=k + 1, series_id=series_id, issued_at=issued, data_until=issued, as_of_received_at=issued,
                    target_at=target, horizon_s=7 * 86400.0, model="lld", model_hash="a" * 64, baseline="lld",
                    shown=True, reason="", **levels,
                )
            )  # fmt: skip
            c.execute(
                insert(t.forecast_score).values(
                    forecast_id=k + 1, observed_at=target, observed=0.0, error=error_mm, baseline_error=error_mm,
                    persistence_error=3.0, inside_80=k % 5 > 0, inside_95=True, pinball=0.1, winkler_80=1.0,
                    scored_at=now,
                )
            )  # fmt: skip


def review_outlines(database: Database, site: Site, now: datetime, rejected: int) -> None:
    """Outlines of one scene and what a person says of each."""
    with database.write() as c:
        known = c.execute(select(func.count()).select_from(t.scene)).scalar()
        for k in range(FEWEST_REVIEWS):
            if not known:
                c.execute(
                    insert(t.scene_footprint).values(
                        scene_hash="s" * 64, model_hash="m" * 64, polygon_id=f"p{k}", model="unet", change="single",
                        area_m2=1000.0, mean_probability=0.9, geometry={}, min_lon=8.9, min_lat=46.2, max_lon=8.9,
                        max_lat=46.2, detected_at=now,
                    )
                )  # fmt: skip
        if not known:
            c.execute(
                insert(t.scene).values(
                    scene_hash="s" * 64, site=site.id, name="one", role="post", path="one.tif", received_at=now,
                    state="done",
                )
            )  # fmt: skip
        for k in range(FEWEST_REVIEWS):
            add_review(c, site.id, f"p{k}", "reject" if k < rejected else "accept", Actor("ada"), now)


def test_check_refuses_a_witness_without_a_proof_and_a_covariate_that_nobody_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run_verb(["sites", "init", "a"]) == 0
    path = tmp_path / "configs/sites/a.toml"
    text = path.read_text()
    path.write_text(text + WITNESS.replace('stations = ["G*"]\n', "") if "G*" not in text else text + WITNESS)
    assert run_verb(["check"]) == 1
    assert "nothing shows that models may be witnesses (a: strange, a: soon-fast, a: image)" in capsys.readouterr().err
    assert run_verb(["db", "upgrade"]) == 0
    assert run_verb(["check"]) == 1
    assert 'criterion strange: role = "witness" is not proven on this site' in capsys.readouterr().err
    path.write_text(text.replace('models = ["auto"]', 'models = ["auto"]\ncovariates = ["R1.rain"]'))
    assert run_verb(["check"]) == 1
    unread = "none of the chosen models reads R1.rain; add one that does (multi-source, sarimax, uc)"
    assert unread in capsys.readouterr().err
    path.write_text(
        text.replace('models = ["auto"]', 'models = ["auto", "multi-source"]\ncovariates = ["R1.rain"]')
        + '\n[anomaly]\ndetectors = ["oracle"]\n'
    )
    assert run_verb(["check"]) == 1
    err = capsys.readouterr().err
    assert "anomaly.detectors: unknown model 'oracle'" in err
    assert "covariates" not in err
