"""`slopeward check`: everything that can be known to be wrong before the service runs."""

import os
import socket
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from monitor.cli.session import ConfigOption, JsonOption, print_json
from monitor.config.service import ServiceConfig, find_cautions, find_weaknesses, load_service, scan_sites
from monitor.domain.instants import epoch_s
from monitor.domain.quantities import OF_VELOCITY_MAPS, UNITS
from monitor.domain.site import VELOCITY_MAP, Site
from monitor.errors import ConfigError, SlopewardError, UnsetError
from monitor.language.vocabulary import LEVELS

app = typer.Typer()
OK, WARN, WRONG = "ok", "warn", "wrong"
# (what it concerns, ok | warn | wrong, one line)
Finding = tuple[str, str, str]


@app.command(epilog="Example: slopeward check --connect")
def check(
    config: ConfigOption = None,
    connect: Annotated[bool, typer.Option("--connect", help="Also try broker, database and channels.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Read service file, site files and mappings; exit 1 for a mistake or a top level that can never be reached."""
    service = load_service(config)
    findings: list[Finding] = []
    sites: list[Site] = []
    try:
        sites, failures = scan_sites(service.paths.sites)
        findings += _check_sites(service.paths.sites, sites, failures)
    except ConfigError as error:
        findings.append((str(service.paths.sites), WRONG, str(error)))
    findings += _check_sources(service, sites)
    findings += [
        *_check_channels(service, sites, connect=connect),
        *_check_proofs(service, sites),
        *_check_cap(service),
        *_check_map(service),
    ]
    if connect:
        findings += _check_connections(service)
    for subject, state, line in findings:
        if as_json:
            found = {"subject": subject, "ok": state != WRONG, "state": state, "text": line}
            print_json(found)
        else:
            word = "WRONG" if state == WRONG else f"{state:5}"
            print(f"{word} {subject}: {line}", file=sys.stdout if state == OK else sys.stderr)
    if any(state == WRONG for _, state, _ in findings):
        raise typer.Exit(1)


def _check_sources(service: ServiceConfig, sites: list[Site]) -> Iterator[Finding]:
    from monitor.ingest.sources.plan import find_faults

    faults = list(find_faults(service.source, {site.id for site in sites}, os.environ))
    for fault in faults:  # a secret may be known to the service alone
        yield "sources", WARN if fault.endswith("is not set") else WRONG, fault
    if service.source and not faults:
        yield "sources", OK, f"{len(service.source)} usable"


def _check_map(service: ServiceConfig) -> Iterator[Finding]:
    if not service.map.tiles:
        return
    from monitor.web.parts.ranges import list_files

    folder = Path(service.map.tiles)
    if not folder.is_dir():
        yield "map", WARN, f"[map] tiles: there is no folder {folder}"
        return
    known = list_files(folder)
    for entry in sorted(folder.iterdir()):
        if entry.name not in {one.name for one in known} and not entry.name.startswith("."):
            todo = f"run `slopeward map tiles {entry}`" if entry.suffix == ".mbtiles" else "only *.pmtiles are"
            yield "map", WARN, f"{entry.name} is not served: {todo}"
    if known:
        yield "map", OK, f"{len(known)} files of tiles in {folder}"


def _check_sites(folder: Path, sites: list[Site], failures: dict[Path, ConfigError]) -> Iterator[Finding]:
    for path, failure in failures.items():
        for fault in failure.faults:
            yield path.name, WRONG, fault
    known = {site.id for site in sites}
    every = ", ".join(sorted(known))
    for site in sites:
        yield from _check_site(site)
        for key, names in (("start_from", [site.forecast.start_from]), ("replay", site.forecast.replay)):
            for name in {*names} - known - {""}:
                yield (
                    site.id,
                    WRONG,
                    f"forecast.{key}: no site is called {name!r}; expected one of: {every}",
                )
    if not sites and not failures:
        yield str(folder), WRONG, "no site file; write one with `slopeward sites init NAME`"


def _check_site(site: Site) -> Iterator[Finding]:
    from monitor.criteria.cost import find_dear

    dear = find_dear(site)
    wrong = [*find_weaknesses(site), *_find_unknown_models(site), *_find_unusable_decoders(site)]
    wrong += [dear[0]] if dear is not None and dear[1] else []
    wrong += [] if site.recipients else ["nobody is notified: add a [[recipient]]"]
    for line in wrong:
        yield site.id, WRONG, line
    if not wrong:
        text = f"stations: {len(site.stations)}, criteria: {len(site.criteria)}, recipients: {len(site.recipients)}"
        yield site.id, OK, text
    for line in [
        *find_cautions(site),
        *_find_noiseless(site),
        *_find_unsigned(site),
        *_find_overdue(site),
        *_find_uninstalled(site),
        *_find_taken_names(site),
        *_find_unmapped(site),
        *([dear[0]] if dear is not None and not dear[1] else []),
    ]:
        yield site.id, WARN, line


def _find_noiseless(site: Site) -> Iterator[str]:
    """Series whose steps raise questions and of whose scatter the site file says nothing."""
    from monitor.series.step_detector import OPENING
    from monitor.series.tracks import verify_step

    asking = [c for c in site.criteria if c.kind.followed and c.role == "witness" and c.quantity != "rain"]
    found = {
        (spec.station, spec.quantity): spec.unit for c in asking for station in c.stations
        if (spec := site.series(station, c.quantity)) is not None and spec.noise_floor == 0.0
        and verify_step(spec, c) is not None
    }  # fmt: skip
    for unit in dict.fromkeys(found.values()):
        names = [f"{station}.{quantity}" for (station, quantity), one in found.items() if one == unit]
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        yield (
            f"{', '.join(names[:3])}{more}: no noise_floor. Where no sigma comes with the values either, nobody is "
            f"notified of small steps in the first {OPENING} epochs: write noise_floor = the standard deviation, in "
            f"{unit}, of readings at rest"
        )


def _check_channels(service: ServiceConfig, sites: list[Site], *, connect: bool) -> Iterator[Finding]:
    """Channels that can never send, and those that lack a setting here; the service may have another environment."""
    from monitor.domain.duty.channels import NOTIFIERS, split_channel
    from monitor.notify.notifier import channel_settings, open_notifier

    settings = channel_settings(service, os.environ)
    for site in sites:
        for channel in sorted({c for r in site.recipients for c in r.channels}):
            if split_channel(channel)[0] not in NOTIFIERS:
                continue  # said above
            try:
                open_notifier(channel, settings)
            except UnsetError as error:
                if connect:
                    yield site.id, WARN, f"{error}; set it where the service runs"
            except ConfigError as error:
                yield site.id, WRONG, str(error)


def _check_cap(service: ServiceConfig) -> Iterator[Finding]:
    """Whether CAP messages can be signed, where they are to be."""
    from monitor.domain.terms import read_text
    from monitor.notify.cap.message import write_notice
    from monitor.notify.cap.signature import sign_cap, verify_cap

    if not service.cap.key:
        return
    try:
        certificate = read_text(Path(service.cap.certificate_file))
        sample = write_notice("check", "slopeward", datetime.now(UTC), "a sample")
        signed = verify_cap(sign_cap(sample, service.cap.key, certificate).encode(), certificate)
    except SlopewardError as error:
        yield "cap", WRONG, str(error)
        return
    line = f"messages are signed by {signed.subject} until {signed.ends_at:%Y-%m-%d}"
    yield "cap", OK if signed.ends_at > datetime.now(UTC) else WRONG, line


def _find_unsigned(site: Site) -> Iterator[str]:
    """Criteria and rules that count and do not say who set them and on what grounds."""
    signed = [(f"criterion {c.id}", c.author, c.reason) for c in site.criteria if c.role != "advice"]
    for name, author, reason in [*signed, *((f"fusion rule {r.id}", r.author, r.reason) for r in site.fusion.rules)]:
        missing = [key for key, said in (("author", author), ("reason", reason)) if not said.strip()]
        if missing:
            yield f"{name}: no {' and no '.join(missing)}: say who set its bounds, on what grounds"


def _find_taken_names(site: Site) -> Iterator[str]:
    """Stations called like a level: a sentence does not show which of the two is meant."""
    levels = {level.name for level in site.levels} | LEVELS
    for station in site.stations:
        if (name := station.id.lower()) in levels:
            yield f"station {station.id}: {name} is the name of a level: who reads a message may take one for the other"


def _find_unmapped(site: Site) -> Iterator[str]:
    """Series that say a map of velocities fills them, and none can."""
    from monitor.ingest.files.velocity import has_mapped_ground

    for station in site.stations:
        for spec in station.series:
            if spec.source != VELOCITY_MAP:
                continue
            name = f"{station.id}.{spec.quantity}"
            if spec.quantity not in OF_VELOCITY_MAPS:
                yield f"{name} stays empty: a velocity map gives {', '.join(OF_VELOCITY_MAPS)}"
            elif not has_mapped_ground(station):
                yield f"{name} stays empty: a velocity map is read where? give the station a place or an outline"


def _find_overdue(site: Site) -> Iterator[str]:
    """Criteria whose bounds were to be reviewed by now; they go on counting."""
    today = datetime.now(UTC).date().isoformat()
    for criterion in site.criteria:
        if criterion.valid_until is not None and criterion.valid_until < today:
            yield f"criterion {criterion.id}: to be reviewed by {criterion.valid_until}, and it goes on counting"


def _find_uninstalled(site: Site) -> Iterator[str]:
    """What the file asks for and this machine cannot do yet; everything else goes on."""
    from monitor.extras import describe_missing, is_installed
    from monitor.jobs.forecasts.train import needs_torch

    asked = [name for name in (*site.forecast.models, *site.anomaly.detectors) if needs_torch(name)]
    if asked and not is_installed("torch"):
        yield f"{', '.join(asked)}: {describe_missing('torch')}"


def _find_unusable_decoders(site: Site) -> Iterator[str]:
    from monitor.ingest.decoders.table import find_decoder

    for bound in site.decoders:
        try:
            find_decoder(bound.name, bound)
        except ConfigError as error:
            yield f"decoder of topic {bound.pattern!r}: {error}; its messages would wait in the quarantine"
            continue
        if bound.name in {"nmea", "rtklib"} and all(station.origin is None for station in site.stations):
            yield f"decoder of topic {bound.pattern!r}: no station has an origin; its positions would wait"


def _check_proofs(service: ServiceConfig, sites: list[Site]) -> Iterator[Finding]:
    """What models say counts only where this site's own record shows that it may; the record lies in the database."""
    from monitor.alerting.decision.proof import describe_unproven
    from monitor.criteria.proofs import needs_proof
    from monitor.store.database.engine import Database
    from monitor.store.models.proofs import load_proof_facts
    from monitor.store.upkeep.migrate import require_current

    asked = [site for site in sites if needs_proof(site)]
    if not asked:
        return
    db = Database(service.database.url)
    try:
        require_current(db)
        now = datetime.now(UTC)
        with db.read() as c:
            found = [
                (site.id, line)
                for site in asked for line in describe_unproven(site, load_proof_facts(c, site, now), epoch_s(now))
            ]  # fmt: skip
    except SlopewardError as error:
        names = ", ".join(f"{site.id}: {criterion.id}" for site in asked for criterion in needs_proof(site))
        yield "database", WRONG, f"nothing shows that models may be witnesses ({names}): {error}"
        return
    finally:
        db.close()
    for subject, line in found:
        yield subject, WRONG, line


def _find_unknown_models(site: Site) -> Iterator[str]:
    # registries name models by dotted path, so that looking loads none of them
    from detection.anomaly.registry import list_served
    from forecasting.registry import SERVED

    for key, names, known in (
        ("forecast.models", site.forecast.models, SERVED),
        ("anomaly.detectors", site.anomaly.detectors, list_served()),
    ):
        for name in names:
            if name not in known:
                yield f"{key}: unknown model {name!r}; expected one of: {', '.join(sorted(known))}"
    yield from find_unread(site)


def find_unread(site: Site) -> Iterator[str]:
    """Covariates that would be dropped in silence."""
    from forecasting.data.kinds import NETWORKS_ONLY, WORDS, find_kind
    from forecasting.registry import NETWORKS, READS_DRIVERS

    expected = [name for name, _ in site.forecast.expected_rain]
    readers = READS_DRIVERS.intersection(site.forecast.models)
    networks = readers.intersection(NETWORKS)
    given = (*site.forecast.covariates, *expected)
    for name in given:
        needs_network = name in WORDS or (name not in expected and find_kind(name) in NETWORKS_ONLY)
        if not (networks if needs_network else readers):
            those = "a network, such as gru" if needs_network else "a network, such as gru, or sarimax or uc"
            yield (
                f"forecast.covariates: none of the chosen models reads {name}; add one that does ({those}) to "
                "forecast.models, or take it out"
            )
    for name in site.forecast.covariates:
        spec = None if name in WORDS else site.series(*name.split(".", 1))
        if spec is not None and spec.quantity == "rain" and spec.stamp == "event":
            yield (
                f"forecast.covariates: {name} reports tips alone: its silence and a dry day look alike, so no model "
                "reads it; name a gauge with stamp interval_end or counter"
            )
        if spec is not None and spec.unit != "index" and spec.unit not in UNITS:
            yield (
                f"forecast.covariates: the unit {spec.unit!r} of {name} is not known; give the series a known unit, or "
                "the unit index where it has none"
            )
    for name in sorted({name for name in given if given.count(name) > 1}):
        yield f"forecast.covariates: {name} is named twice; name it once"


def _check_connections(service: ServiceConfig) -> Iterator[Finding]:
    yield from _try("database", lambda: _reach_database(service))
    if service.broker.mode == "external":
        yield from _try("broker", lambda: _reach_broker(service))
    else:
        yield from _try("broker", _find_broker)
    yield from _check_mail(service)


def _try(subject: str, act: Any) -> Iterator[Finding]:
    try:
        yield subject, OK, act()
    except (SlopewardError, OSError) as error:
        yield subject, WRONG, " ".join(str(error).split())


def _reach_database(service: ServiceConfig) -> str:
    from monitor.store.database.engine import Database
    from monitor.store.upkeep.migrate import require_current

    db = Database(service.database.url)
    try:
        require_current(db)
    finally:
        db.close()
    return "answers, schema is current"


def _reach_broker(service: ServiceConfig) -> str:
    with socket.create_connection((service.broker.host, service.broker.port), timeout=5):
        return f"{service.broker.host}:{service.broker.port} takes connections"


def _find_broker() -> str:
    from monitor.health import HOW_TO_INSTALL
    from monitor.ingest.broker import find_mosquitto

    path = find_mosquitto()
    if path is None:
        raise ConfigError(f"Mosquitto is not installed, the broker would forget at restart; {HOW_TO_INSTALL}")
    return f"managed, {path}"


def _check_mail(service: ServiceConfig) -> Iterator[Finding]:
    sites, _ = scan_sites(service.paths.sites)
    wants_mail = any(c.startswith("email:") for s in sites for r in s.recipients for c in r.channels)
    if wants_mail and not service.smtp.host:
        yield "channels", WRONG, "a recipient has an email: channel, but smtp.host is not set"
    elif wants_mail:
        yield from _try("channels", lambda: _reach_mail(service))


def _reach_mail(service: ServiceConfig) -> str:
    with socket.create_connection((service.smtp.host, service.smtp.port), timeout=5):
        return f"{service.smtp.host}:{service.smtp.port} takes connections; `slopeward channels test` sends"
