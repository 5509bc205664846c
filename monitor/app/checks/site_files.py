"""Checks of site files, for `slopeward check` and `slopeward doctor`."""

import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

from monitor.decision.alert_texts import CRITERION_NAMED, RULE_NAMED
from monitor.decision.changes import AlertCategory
from monitor.decision.judgements import (
    SeriesJudgement,
    describe_barriers,
    find_unreached,
)
from monitor.decision.prepared_site import PreparedSite
from monitor.errors import ConfigError, MissingSettingError, SlopewardError
from monitor.extras import is_installed
from monitor.models.samples import list_panels
from monitor.plugins import implementations
from monitor.readings.cleaned.noise import ACCEPTANCE_EPOCHS, MIN_USUAL_EPOCHS, PRESENT_EPOCHS
from monitor.settings.service import ServiceConfig
from monitor.sites.channels import find_channel_traits, list_channel_kinds, split_channel
from monitor.sites.files import scan_sites
from monitor.sites.first_site import FEWEST_INTERVALS, LONGEST_WAIT_S
from monitor.sites.parsing import find_cautions, find_weaknesses
from monitor.sites.quantities import VELOCITY_MAP_QUANTITIES
from monitor.sites.records import MEASURED, VELOCITY_MAP, Level, Site, Station
from monitor.sites.shadow import list_notified_people, list_withheld_channels
from monitor.sites.units import UNITS
from monitor.sites.watched import number_declared_series
from monitor.sites.witnesses import find_voting_series
from monitor.storage.check import BAD, WARN, Check, SubjectState, make_state
from monitor.text.instants import epoch_s
from monitor.text.message import Duration, MessageList, NameList, Template, Term, join
from monitor.text.vocabulary import LEVELS

_NO_PROOF: Final = Template("check.sites.no_proof", "no stored proof that these models may vote ({names}): {problem}")
_TIPS: Final = Template(
    "check.covariates.tips",
    '{name} only reports tips (stamp = "event"), so a fault cannot be distinguished from dry weather and no model '
    "reads it; name a gauge with stamp interval_end or counter",
)
_ODD_UNIT: Final = Template(
    "check.covariates.unit",
    "the unit '{unit}' of {name} is unknown; declare a known unit, or the unit index if the series has none",
)
_TWICE: Final = Template("check.covariates.twice", "{name} is listed twice; list it once")
_QUARANTINED: Final = Template(
    "check.decoders.quarantined", "{problem}; until this is corrected, its messages go to the quarantine"
)
_NO_ORIGIN: Final = Template(
    "check.decoders.no_origin",
    "no station has an origin, so positions cannot be converted to displacement; add origin to the stations",
)()
_MEND: Final = Template("check.sites.mend", "correct the site file")()
SET_VARIABLE_REMEDY: Final = Template("check.environment.set", "set it in the environment of the service")()
_SHADOW: Final = Template(
    "check.shadow.nobody", "shadow mode: nobody is notified, and neither CAP feed nor MQTT topics contain the site"
)
_SHADOW_TRIAL: Final = Template(
    "check.shadow.trial",
    "shadow mode: only {names} are notified, and neither CAP feed nor MQTT topics contain the site",
)
_SHADOW_WITHHELD: Final = Template("check.shadow.withheld", "withheld from {names}")
_NEITHER: Final = Template("check.unsigned.neither", "author and no reason")()
_NO_PLACE: Final = Template(
    "check.unmapped.no_place", "cannot be read, because the station has neither position nor outline; add one of them"
)()
_GIVES: Final = Template("check.unmapped.gives", "contains only {names}")
_NO_PACKAGE: Final = Template(
    "check.unmapped.no_package", "is read by slopeward-earth, which is not installed; install it"
)()


_TOO_SLOW: Final = Template(
    "check.sites.slow",
    "{series} cannot raise {level} in time: readings come every {every}, a fitted line needs {n} intervals, and a "
    "warning of this level must not take longer than {wait}. A criterion of kind survey_rate needs only two readings",
)
_NO_HIGHER_BOUND: Final = Template(
    "check.sites.no_higher_bound",
    "motion at {names} raises at most {level}, because no criterion with a vote has a bound for {top} there",
)
# Facts of criteria on images and radar.
FROM_ABOVE: Final = frozenset({"footprints", "points"})


class SiteFolder(NamedTuple):
    """The site files of the folder of the service."""

    service: ServiceConfig
    sites: Sequence[Site]
    failures: Mapping[Path, ConfigError]

    @classmethod
    def read(cls, service: ServiceConfig) -> "SiteFolder":
        """Read the site files.

        Raises:
            ConfigError: the folder does not exist.
        """
        return cls(service, *scan_sites(service.paths.sites))


class EnvironmentSettings(NamedTuple):
    """Settings from environment variables. The environment of the service may differ from that of the command."""

    files: SiteFolder


def _make_states(find: Callable[[Site], Iterable[str]]) -> Callable[[SiteFolder], Iterator[SubjectState]]:
    return lambda files: (make_state(site.id, line=line) for site in files.sites for line in find(site))


def _find_costly(files: SiteFolder) -> Iterator[SubjectState]:
    from monitor.decision.cost import describe_costly_evaluation

    for site in files.sites:
        if costly := describe_costly_evaluation(site):
            line, is_too_costly = costly
            yield make_state(site.id, level=BAD if is_too_costly else WARN, line=line)


def _find_unproven(files: SiteFolder) -> Iterator[SubjectState]:
    """Find models that have a vote without a stored proof on the record of the site."""
    from monitor.decision.proof import describe_unproven
    from monitor.models.queries.proofs import load_proof_facts
    from monitor.sites.witnesses import list_criteria_needing_proof
    from monitor.storage.engine import Database
    from monitor.storage.migrate import require_current

    sites = [site for site in files.sites if list_criteria_needing_proof(site)]
    if not sites:
        return
    now = datetime.now(UTC)
    try:
        with Database(files.service.database.url) as db:
            require_current(db)
            with db.read() as c:
                lines: list[tuple[str, str]] = [
                    (site.id, line)
                    for site in sites
                    for line in describe_unproven(site, load_proof_facts(c, site, now), epoch_s(now))
                ]
    except SlopewardError as error:
        names = tuple(f"{site.id}: {criterion.id}" for site in sites for criterion in list_criteria_needing_proof(site))
        lines = [("database", _NO_PROOF(names=NameList(names), problem=error.message))]
    yield from (make_state(site, line=line) for site, line in lines)


def _find_uncounted(files: SiteFolder) -> Iterator[SubjectState]:
    """Find series of criteria without a usable stored reading. Nothing is reported without a database."""
    from monitor.readings.queries.uncounted import UncountedSeries, find_uncounted
    from monitor.storage.engine import Database
    from monitor.storage.migrate import require_current

    now = datetime.now(UTC)
    uncounted_series: list[tuple[str, UncountedSeries]] = []
    try:
        with Database(files.service.database.url) as db:
            require_current(db)
            with db.read() as c:
                uncounted_series = [
                    (site.id, series) for site in files.sites for series in find_uncounted(c, site, now)
                ]
    except SlopewardError:
        # The checks of the database report the error.
        return
    names_by_problem: dict[tuple[str, int, str], list[str]] = {}
    for site_id, series in uncounted_series:
        names_by_problem.setdefault((site_id, series.count, series.flag), []).append(series.name)
    for (site_id, count, flag), names in names_by_problem.items():
        listed = NameList(tuple(names[:3]), more=max(0, len(names) - 3))
        yield make_state(site_id, n=count, names=listed, flag=Term(flag))


def _find_unknown_sites(files: SiteFolder) -> Iterator[SubjectState]:
    site_ids = {site.id for site in files.sites}
    for site in files.sites:
        for key, names in (("start_from", [site.forecast.start_from]), ("replay", site.forecast.replay)):
            for name in {*names} - site_ids - {""}:
                yield make_state(site.id, key=key, name=name, every=NameList(tuple(sorted(site_ids))))


def _find_unknown_detectors(files: SiteFolder) -> Iterator[SubjectState]:
    from detection.anomaly.registry import REPLACED, list_served

    detectors = list_served()
    for site in files.sites:
        for name in site.anomaly.detectors:
            if name not in detectors and name not in REPLACED:
                listed = NameList(tuple(sorted(detectors)))
                yield make_state(site.id, key="anomaly.detectors", name=name, known=listed)


def _find_replaced_detectors(files: SiteFolder) -> Iterator[SubjectState]:
    """Find detectors of the package slopeward-lab, which is not installed."""
    from detection.anomaly.registry import REPLACED, list_served

    for site in files.sites:
        for name in site.anomaly.detectors:
            if name in REPLACED and name not in list_served():
                yield make_state(site.id, name=name, other=REPLACED[name])


def find_unusable_drivers(site: Site) -> Iterator[str]:
    """Return a line for each driver of forecasts that cannot be used."""
    from forecasting.data.kinds import WORDS

    given = (*site.forecast.covariates, *(name for name, _ in site.forecast.expected_rain))
    for name in site.forecast.covariates:
        spec = None if name in (MEASURED, *WORDS) else site.series(*name.split(".", 1))
        if spec is not None and spec.quantity == "rain" and spec.stamp == "event":
            yield _TIPS(name=name)
        if spec is not None and spec.unit != "index" and spec.unit not in UNITS:
            yield _ODD_UNIT(unit=spec.unit, name=name)
    for name in sorted({name for name in given if given.count(name) > 1}):
        yield _TWICE(name=name)


def _find_uninstalled(files: SiteFolder) -> Iterator[SubjectState]:
    """Find models that need packages which are not installed."""
    from monitor.extras import describe_missing
    from monitor.models.queries.registry import needs_torch

    for site in files.sites:
        named = [name for name in (*site.forecast.models, *site.anomaly.detectors) if needs_torch(name)]
        if named and not is_installed("torch"):
            yield make_state(site.id, names=NameList(tuple(named)), missing=describe_missing("torch"))


def _find_unusable_decoders(files: SiteFolder) -> Iterator[SubjectState]:
    from monitor.ingest.decoders.table import find_decoder

    for site in files.sites:
        for bound in site.decoders:
            try:
                find_decoder(bound.name, bound)
            except ConfigError as error:
                yield make_state(site.id, topic=bound.pattern, why=_QUARANTINED(problem=error.message))
                continue
            if bound.name in {"nmea", "rtklib"} and all(station.origin is None for station in site.stations):
                yield make_state(site.id, topic=bound.pattern, why=_NO_ORIGIN)


def _find_without_noise_floor(files: SiteFolder) -> Iterator[SubjectState]:
    from monitor.readings.cleaned.step_detector import OPENING_EPOCHS
    from monitor.readings.cleaned.tracks import find_verification_limit

    for site in files.sites:
        asking = [c for c in site.criteria if c.kind.followed and c.role == "witness" and c.quantity != "rain"]
        series = {
            (spec.station, spec.quantity): spec.unit
            for c in asking
            for station in c.stations
            if (spec := site.series(station, c.quantity)) is not None
            and spec.noise_floor == 0.0
            and find_verification_limit(spec, c) is not None
        }
        for unit in dict.fromkeys(series.values()):
            names = [
                f"{station}.{quantity}" for (station, quantity), series_unit in series.items() if series_unit == unit
            ]
            listed = NameList(tuple(names[:3]), more=max(0, len(names) - 3))
            yield make_state(site.id, names=listed, opening=OPENING_EPOCHS, unit=unit)


def _find_scattering(files: SiteFolder) -> Iterator[SubjectState]:
    """Report how long a higher noise takes to be learnt, and series with too short a window to detect it."""
    from monitor.decision.criteria.scope import find_history_spans

    for site in files.sites:
        spans = find_history_spans(site)
        names_by_interval: dict[tuple[float, bool], list[str]] = {}
        for station, quantity in sorted(find_voting_series(site) & spans.keys()):
            spec = site.series(station, quantity)
            if spec is not None and quantity != "rain":
                is_short = spans[station, quantity] < (PRESENT_EPOCHS + MIN_USUAL_EPOCHS) * spec.interval_s
                names_by_interval.setdefault((spec.interval_s, is_short), []).append(f"{station}.{quantity}")
        for (interval_s, is_short), names in names_by_interval.items():
            listed = NameList(tuple(names[:3]), more=max(0, len(names) - 3))
            least = PRESENT_EPOCHS + MIN_USUAL_EPOCHS if is_short else ACCEPTANCE_EPOCHS
            yield make_state(site.id, is_wrong=is_short, names=listed, n=least, duration=Duration(least * interval_s))


def _find_limited(files: SiteFolder) -> Iterator[SubjectState]:
    """Find motion series without a bound for the highest levels, and whether they are read too rarely for one."""
    for site in files.sites:
        without_bound: dict[int, list[str]] = {}
        for judgement in PreparedSite(site).judgements:
            if not judgement.measures_motion or not judgement.has_voter:
                continue
            bounds = [
                limit.level
                for criterion in judgement.criteria
                if criterion.has_vote and criterion.role == "witness"
                for limit in criterion.limits
            ]
            # Bounds that cannot be reached have their own check.
            highest = max([judgement.highest_level, *bounds])
            late = [
                (level, wait_s)
                for level, wait_s in zip(reversed(site.levels), LONGEST_WAIT_S[:2], strict=False)
                if highest < level.number and FEWEST_INTERVALS * judgement.interval_s > wait_s
            ]
            for level, wait_s in late:
                yield _describe_slow(site, judgement, level, wait_s)
            if highest < site.top_level and not late:
                without_bound.setdefault(highest, []).append(judgement.name)
        for highest, names in without_bound.items():
            text = _NO_HIGHER_BOUND(
                names=NameList(tuple(names[:3]), more=max(0, len(names) - 3)),
                level=Term(site.levels[highest].name),
                top=Term(site.levels[-1].name),
            )
            yield make_state(site.id, text=text)


def _describe_slow(site: Site, judgement: SeriesJudgement, level: Level, wait_s: float) -> SubjectState:
    text = _TOO_SLOW(
        series=judgement.name,
        level=Term(level.name),
        every=Duration(judgement.interval_s),
        n=FEWEST_INTERVALS,
        wait=Duration(wait_s),
    )
    return make_state(site.id, text=text)


def _find_separate_forecasts(files: SiteFolder) -> Iterator[SubjectState]:
    """Report which series are forecast together, and their horizons, unless all series have all horizons."""
    for site in files.sites:
        horizons_s = site.forecast.horizons_s
        cadences = [panel.cadence for panel in list_panels(site, number_declared_series(site))]
        if len(cadences) == 1 and cadences[0].horizons_s == horizons_s:
            continue
        for cadence in cadences:
            spans = [Duration(h, "about") for h in cadence.horizons_s]
            yield make_state(
                site.id,
                is_wrong=not {*cadence.horizons_s} & {*horizons_s},
                names=NameList(cadence.names),
                every=Duration(cadence.interval_s, "about"),
                horizons=MessageList(tuple(spans), ", "),
            )


def _find_unreachable(files: SiteFolder) -> Iterator[SubjectState]:
    """Find bounds that motion cannot reach. The state is BAD if no witness can raise the level."""
    for site in files.sites:
        prepared = PreparedSite(site)
        unreached = find_unreached(prepared)
        yield make_state(site.id, is_wrong=False)
        for level, barrier, text in describe_barriers(site, prepared.barriers):
            is_bad = barrier.is_absolute and level in unreached
            yield make_state(site.id, level=BAD if is_bad else WARN, text=text)


def _find_unjudged(files: SiteFolder) -> Iterator[SubjectState]:
    for site in files.sites:
        names = tuple(PreparedSite(site).unjudged_series)
        yield make_state(site.id, is_wrong=bool(names), names=NameList(names))


def _find_unreceived_advice(files: SiteFolder) -> Iterator[SubjectState]:
    """Find criteria on images and radar whose advice no recipient receives."""
    for site in files.sites:
        is_wanted = any(AlertCategory.ADVICE in recipient.ledgers for recipient in site.all_recipients)
        names = tuple(
            c.id for c in site.criteria if c.role == "advice" and not c.is_implied and c.kind.facts in FROM_ABOVE
        )
        yield make_state(site.id, is_wrong=bool(site.all_recipients and names) and not is_wanted, names=NameList(names))


def _find_undirected(files: SiteFolder, is_missing: Callable[[Station], bool]) -> Iterator[SubjectState]:
    """Find stations whose downslope displacement is used, but whose direction is not declared completely."""
    for site in files.sites:
        needing = {
            station
            for c in site.criteria
            for station in c.stations
            if c.quantity == "displacement" and c.direction != "norm" and c.kind.id != "level"
        }
        names = tuple(
            s.id
            for s in site.stations
            if s.id in needing and s.on_slope and s.find_series("displacement") is not None and is_missing(s)
        )
        if names:
            yield make_state(site.id, names=NameList(names[:3], more=max(0, len(names) - 3)))


def _find_missing_reasons(files: SiteFolder) -> Iterator[SubjectState]:
    for site in files.sites:
        signed = [(CRITERION_NAMED(criterion=c.id), c.author, c.reason) for c in site.criteria if c.role != "advice"]
        rules = [(RULE_NAMED(rule=r.id), r.author, r.reason) for r in site.fusion.rules]
        for name, author, reason in (*signed, *rules):
            missing = [key for key, text in (("author", author), ("reason", reason)) if not text.strip()]
            if missing:
                yield make_state(site.id, name=name, missing=missing[0] if len(missing) == 1 else _NEITHER)


def _find_expired(files: SiteFolder) -> Iterator[SubjectState]:
    today = datetime.now(UTC).date().isoformat()
    for site in files.sites:
        for criterion in site.criteria:
            if criterion.valid_until is not None and criterion.valid_until < today:
                yield make_state(site.id, criterion=criterion.id, day=criterion.valid_until)


def _find_taken_names(files: SiteFolder) -> Iterator[SubjectState]:
    for site in files.sites:
        levels = {level.name for level in site.levels} | LEVELS
        for station in site.stations:
            if (name := station.id.lower()) in levels:
                yield make_state(site.id, station=station.id, name=name)


def _find_unmapped(files: SiteFolder) -> Iterator[SubjectState]:
    for site in files.sites:
        for station in site.stations:
            for spec in (series for series in station.series if series.source == VELOCITY_MAP):
                why = _NO_PLACE
                if spec.quantity not in VELOCITY_MAP_QUANTITIES:
                    why = _GIVES(names=NameList(tuple(VELOCITY_MAP_QUANTITIES)))
                elif station.has_ground:
                    if is_installed("slopeward_earth"):
                        continue
                    why = _NO_PACKAGE
                yield make_state(site.id, series=f"{station.id}.{spec.quantity}", why=why)


def _describe_shadow(files: SiteFolder) -> Iterator[SubjectState]:
    """Name who gets messages of a site in shadow mode, by which channels, and which channels get none."""
    for site in files.sites:
        if site.shadow:
            notified = _name_channels(list_notified_people(site.recipients))
            text = _SHADOW() if notified is None else _SHADOW_TRIAL(names=notified)
            withheld = _name_channels(list_withheld_channels(site))
            if withheld is not None:
                text = join([text, _SHADOW_WITHHELD(names=withheld)], "; ")
            yield make_state(site.id, text=text)


def _name_channels(channels: Mapping[str, Collection[str]]) -> NameList | None:
    """Return each name with its channels in brackets; None if there is no channel."""
    names = tuple(f"{name} ({', '.join(sorted(addresses))})" for name, addresses in channels.items() if addresses)
    return NameList(names) if names else None


def _find_without_person(files: SiteFolder) -> Iterator[SubjectState]:
    for site in files.sites:
        channels = list_channels(site)
        reaches = any(find_channel_traits(c).reaches_person for c in channels)
        yield make_state(
            site.id, is_wrong=bool(site.all_recipients) and not reaches, channels=NameList(tuple(channels))
        )


def list_channels(site: Site) -> list[str]:
    """Return the channels of all recipients of a site, also while it is in shadow mode."""
    return sorted({channel for recipient in site.all_recipients for channel in recipient.channels})


def _open_channels(files: SiteFolder) -> Iterator[tuple[str, str, ConfigError | None]]:
    """Return site id, channel, and the error if the channel cannot send."""
    from monitor.delivery.notifier import channel_settings, open_notifier

    settings = channel_settings(files.service, os.environ)
    for site in files.sites:
        for channel in list_channels(site):
            error = None
            try:
                open_notifier(channel, settings)
            except ConfigError as refused:
                error = refused
            yield site.id, channel, error


def _check_channel_settings(files: SiteFolder) -> Iterator[SubjectState]:
    for site, channel, error in _open_channels(files):
        if split_channel(channel)[0] in list_channel_kinds() and not isinstance(error, MissingSettingError):
            yield make_state(site, is_wrong=error is not None, error=error and error.message)


def _find_unset_channels(settings: EnvironmentSettings) -> Iterator[SubjectState]:
    for site, channel, error in _open_channels(settings.files):
        if error is None or isinstance(error, MissingSettingError):
            yield make_state(site, is_wrong=error is not None, error=error and error.message, channel=channel)


def _find_sites_without_complete_channel(settings: EnvironmentSettings) -> Iterator[SubjectState]:
    """Find sites none of whose channels to people has its settings."""
    errors: dict[str, list[ConfigError | None]] = {}
    for site, channel, error in _open_channels(settings.files):
        if find_channel_traits(channel).reaches_person:
            errors.setdefault(site, []).append(error)
    for site, found in errors.items():
        missing = [error for error in found if isinstance(error, MissingSettingError)]
        yield make_state(
            site, is_wrong=len(missing) == len(found), error=missing[0].message if missing else "", n=len(found)
        )


CHECKS: Final = (
    Check(
        "sites.unread",
        SiteFolder,
        BAD,
        "{fault}",
        lambda f: (make_state(p.name, fault=x, path=str(p)) for p, error in f.failures.items() for x in error.faults),
        "correct {path}; until then, the last valid version is used",
    ),
    Check(
        "sites.none",
        SiteFolder,
        BAD,
        "no usable site file; write one from readings (`slopeward import FILE`, or `slopeward import --from SOURCE "
        "--since DAY`), or with example numbers (`slopeward init NAME`)",
        lambda f: make_state("" if f.sites else str(f.service.paths.sites), is_wrong=not f.sites, n=len(f.sites)),
        "slopeward import FILE, or slopeward init NAME",
        fine="{n} usable",
    ),
    Check(
        "sites.weak",
        SiteFolder,
        BAD,
        "{line}",
        _make_states(find_weaknesses),
        "add an independent witness or lower fusion.top_needs",
    ),
    Check(
        "sites.dear",
        SiteFolder,
        BAD,
        "{line}",
        _find_costly,
        "shorten the windows of the criterion, so that evaluations keep up with the data",
    ),
    Check(
        "sites.uncounted",
        SiteFolder,
        WARN,
        "none of the newest {n} readings of {names} is used, because all are flagged {flag}; they raise no level",
        _find_uncounted,
        "correct unit, range (low, high) or columns, and import the readings again",
    ),
    Check(
        "sites.unproven",
        SiteFolder,
        BAD,
        "{line}",
        _find_unproven,
        'run the test that the line names, or set role = "advice"',
    ),
    Check(
        "forecasts.other_site",
        SiteFolder,
        BAD,
        "forecast.{key}: no site is called '{name}'; expected one of: {every}",
        _find_unknown_sites,
        _MEND,
    ),
    Check(
        "forecasts.unknown",
        SiteFolder,
        BAD,
        "{key}: unknown model '{name}'; expected one of: {known}",
        _find_unknown_detectors,
        _MEND,
    ),
    Check(
        "anomalies.replaced",
        SiteFolder,
        BAD,
        "anomaly.detectors: '{name}' is in the package slopeward-lab; the built-in detector for it is '{other}'",
        _find_replaced_detectors,
        "write the built-in detector, or install the package: pip install 'slopeward[lab]'",
    ),
    Check(
        "forecasts.covariates",
        SiteFolder,
        BAD,
        "forecast.covariates: {line}",
        _make_states(find_unusable_drivers),
        _MEND,
    ),
    Check(
        "forecasts.horizons",
        SiteFolder,
        WARN,
        "{names}: readings come every {every}, and all horizons of the site file are shorter. Forecasts are made "
        "{horizons} ahead, which no criterion can use",
        _find_separate_forecasts,
        "add a longer horizon to forecast.horizons",
        fine="{names}: readings come every {every}; forecast together, {horizons} ahead",
    ),
    Check(
        "forecasts.installed",
        SiteFolder,
        WARN,
        "{names}: {missing}",
        _find_uninstalled,
        "install it, or delete these from the site file",
    ),
    Check(
        "decoders",
        SiteFolder,
        BAD,
        "decoder of topic '{topic}': {why}",
        _find_unusable_decoders,
        "correct its [[decoder]] table",
    ),
    Check(
        "sites.noise",
        SiteFolder,
        WARN,
        "{names}: no noise_floor. If the readings have no sigma either, nobody is notified of small steps in the "
        "first {opening} epochs; set noise_floor to the standard deviation, in {unit}, of readings without movement",
        _find_without_noise_floor,
        "set noise_floor of the series",
    ),
    Check(
        "sites.scatter",
        SiteFolder,
        WARN,
        "{names}: the windows have fewer than {n} readings ({duration}), so nobody is notified when the noise rises",
        _find_scattering,
        "lengthen a window of a criterion",
        fine="{names}: after the noise rises tenfold, the series is used again after at most {n} readings ({duration})",
    ),
    Check(
        "sites.limited",
        SiteFolder,
        WARN,
        "{text}",
        _find_limited,
        "add a bound, read the instrument more often, or add an instrument with a shorter interval",
    ),
    Check(
        "sites.unreachable",
        SiteFolder,
        BAD,
        "{text}",
        _find_unreachable,
        "lengthen the window or the within of dwell, set noise_floor to the instrument noise, or read it more often",
        alarm=2,
        key="config:*:unreachable",
    ),
    Check(
        "sites.unjudged",
        SiteFolder,
        WARN,
        "no criterion with a vote reads {names}: motion there raises no level",
        _find_unjudged,
        "add the stations to a criterion, or set on_slope = false for stations on stable ground",
        alarm=1,
        key="config:*:unjudged",
    ),
    Check(
        "sites.unheard",
        SiteFolder,
        WARN,
        "{names}: nobody receives the findings of these criteria, because no recipient has the ledger advice",
        _find_unreceived_advice,
        'set ledgers = ["hazard", "health", "advice"] at a [[recipient]]',
    ),
    Check(
        "sites.azimuth",
        SiteFolder,
        WARN,
        "{names}: no azimuth_deg. With east and north, the horizontal speed in any direction and the vertical rate are "
        "tested separately, so motion must be somewhat faster to be significant",
        partial(_find_undirected, is_missing=lambda s: s.azimuth_deg is None),
        'set azimuth_deg and plunge_deg of the movement, or direction = "norm" if it has no direction',
    ),
    Check(
        "sites.plunge",
        SiteFolder,
        WARN,
        "{names}: no plunge_deg. With up, the vertical rate in either direction is tested separately",
        partial(_find_undirected, is_missing=lambda s: s.lacks_plunge),
        "set plunge_deg of the movement: its inclination below the horizon",
    ),
    Check(
        "sites.unsigned",
        SiteFolder,
        WARN,
        "{name}: no {missing}; state who set the bounds and why",
        _find_missing_reasons,
        "set author and reason",
    ),
    Check(
        "sites.overdue",
        SiteFolder,
        WARN,
        "criterion {criterion}: its review was due on {day}; it still counts",
        _find_expired,
        "review the bounds, then set a later valid_until",
    ),
    Check(
        "sites.names",
        SiteFolder,
        WARN,
        "station {station}: {name} is the name of a level, so readers of messages may confuse them",
        _find_taken_names,
        "give the station another name",
    ),
    Check("sites.unmapped", SiteFolder, WARN, "{series} stays empty: a velocity map {why}", _find_unmapped, _MEND),
    Check("channels.caution", SiteFolder, WARN, "{line}", _make_states(find_cautions), "correct the site file"),
    Check(
        "channels.nobody",
        SiteFolder,
        BAD,
        "nobody is notified: add a [[recipient]]",
        # In shadow mode nobody has to be notified.
        lambda f: (make_state(site.id, is_wrong=not site.all_recipients and not site.shadow) for site in f.sites),
        "add a [[recipient]] to the site file",
    ),
    Check(
        "channels.shadow",
        SiteFolder,
        WARN,
        "{text}",
        _describe_shadow,
        "when the trial is over, delete shadow = true from [site]; all recipients are then notified of open alerts",
    ),
    Check(
        "channels.no_person",
        SiteFolder,
        WARN,
        "no channel reaches a person; there is only {channels}",
        _find_without_person,
        "add a channel such as email: or apprise:",
    ),
    Check(
        "channels.duty",
        SiteFolder,
        BAD,
        "team {team}: the feature duty is not installed, so messages go to the whole team",
        lambda f: (
            make_state(s.id, team=x.name) for s in f.sites for x in s.teams if not implementations("people_on_duty")
        ),
        "install the feature duty, or list people instead of team:{team}",
    ),
    Check(
        "channels.settings",
        SiteFolder,
        BAD,
        "{error}",
        _check_channel_settings,
        "correct the channels in the site file",
    ),
    Check(
        "channels.unset",
        EnvironmentSettings,
        BAD,
        "{error}; set it in the environment of the service",
        _find_unset_channels,
        SET_VARIABLE_REMEDY,
        fine="{channel} is complete (`slopeward notify channels test` sends a test message)",
    ),
    Check(
        "channels.incomplete",
        EnvironmentSettings,
        WARN,
        "in this environment no alert reaches a person, because none of the {n} channels to people has its settings: "
        "{error}",
        _find_sites_without_complete_channel,
        SET_VARIABLE_REMEDY,
    ),
)
