"""Parse a site file: resolve names, convert units, and reject contradictions with all faults at once."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from functools import partial
from itertools import pairwise
from typing import Any, Final, TypeVar
from zoneinfo import ZoneInfo

from pydantic import ValidationError

from forecasting.data.kinds import WORDS
from forecasting.registry import describe_unknown_model, is_network
from monitor.canonical import digest_text
from monitor.errors import ConfigError
from monitor.plugins import has_plugin, hooks
from monitor.sections import Faults, Section, describe_unknown, explain, join_faults, make_record, read_toml
from monitor.sites import records as domain
from monitor.sites.absent_sections import describe_absent_section, list_absent_sections
from monitor.sites.channels import find_channel_traits, find_topic_fault, list_channel_kinds, split_channel
from monitor.sites.criteria.entry import KindEntry, check_history
from monitor.sites.criteria.places import Places, find_level, find_series
from monitor.sites.criteria.rain_sections import read_expected_rain, reject_rain_forecast
from monitor.sites.criteria.registry import load_criteria
from monitor.sites.criteria.sections import CriterionTable, DwellTable
from monitor.sites.fusion_sections import find_forecast_faults, read_fusion
from monitor.sites.ground import crosses_itself, measure_ground_distance_m
from monitor.sites.parents import DEFAULT_SILENCE_INTERVALS
from monitor.sites.quantities import (
    BATTERY_LEVEL,
    BATTERY_VOLTAGE,
    QUANTITIES,
    VELOCITY_MAP_QUANTITIES,
    ZONE_QUANTITIES,
    Quantity,
    convert,
    convert_difference,
)
from monitor.sites.quiet_hours import read_quiet
from monitor.sites.schema import (
    STAGE_EVERY_S,
    LevelsTable,
    LevelTable,
    OriginTable,
    QuantityTable,
    Table,
    make_site_file_model,
)
from monitor.sites.shadow import select_trial_recipients
from monitor.sites.units import UNITS
from monitor.sites.witnesses import list_top_witnesses
from monitor.text.instants import format_duration
from monitor.text.names import fold_name, is_line, is_same_person, unify_names
from monitor.text.zones import read_minute

_T = TypeVar("_T", bound=Section)
_Corners = tuple[tuple[float, float], ...]
_R = TypeVar("_R")
# Keys of [[recipient]] that a recipient which stands for a team must not have.
PERSON_KEYS: Final = ("channels", "people", "language", "phone", "quiet", "digest")
# No country has a time zone that differs more from solar time.
_LARGEST_ZONE_OFFSET_H: Final = 4.0
# Order of common names of levels.
_COLOUR_ORDER: Final = {"green": 0, "yellow": 1, "amber": 2, "orange": 2, "red": 3}
# A position that is farther from the site is taken for a mistake.
LARGEST_DISTANCE_M: Final = 100_000.0
LARGEST_COUNT: Final = 1e9
# Noise of the least accurate instruments: GNSS receivers of telephones, pixels of satellite images.
LARGEST_NOISE_MM: Final = 1e4
PROGRESSIVE_FORECAST_S: Final = 3600.0
# Feature that corrects prisms by the references of a total station.
_CORRECTING_FEATURE: Final = "derived"


def parse_site(text: str, name: str) -> domain.Site:
    """Read a site file's text.

    Args:
        text: the TOML text. Its SHA-256 becomes the `version` of the site.
        name: name of the file in error messages.

    Raises:
        ConfigError: the file has faults. `faults` has one line for each, with file, key and remedy.
    """
    document = read_toml(text, name)
    absent = list_absent_sections(document, make_site_file_model().written_keys())
    try:
        return _read_site({key: table for key, table in document.items() if key not in absent}, text, name)
    except ConfigError as error:
        if not absent:
            raise
        # References to stations or series of the ignored sections are faults. Add the reason to them.
        ignored = [f"{name}: {describe_absent_section(section)}" for section in absent]
        raise join_faults([*error.faults, *ignored]) from error


def _read_site(document: Mapping[str, Any], text: str, name: str) -> domain.Site:
    file, levels = _read_outline(document, name)
    for sections in hooks().site_file_sections():
        file = sections.expand(file, name)
    faults = Faults()
    own_quantities = {quantity.name: quantity for quantity in file.quantity}
    for index, quantity in enumerate(file.quantity):
        with faults.gathered():
            if quantity.name in QUANTITIES:
                raise ConfigError(
                    f"{name}: quantity[{index}].name: {quantity.name!r} is a built-in quantity; choose another name"
                )
    stations = faults.read_each(
        lambda table, where: _read_station(table, file.site, own_quantities, where), file.station, f"{name}: station"
    )
    # If a station cannot be read, references to it are not checked. They would only be further faults.
    has_all_stations = len(stations) == len(file.station)
    criteria: tuple[domain.Criterion, ...] = ()
    counts: dict[str, int] = {}
    for index, raw in enumerate(file.criterion):
        with faults.gathered():
            raw_criterion = _read_raw_criterion(raw, index, levels, name)
            where = f"{name}: {raw_criterion.where}"
            places = Places(
                where=where,
                kind=raw_criterion.entry.kind,
                raw=raw,
                levels=levels,
                stations=stations,
                horizons_s=file.forecast.horizons_s,
            )
            if has_all_stations:
                criteria += (_read_criterion(raw_criterion, places, counts),)
    for names, key in (
        ((s.id for s in file.station), "station: id"),
        ((c.id for c in criteria), "criterion: id"),
        ((r.name for r in file.recipient), "recipient: name"),
        ((e.name for e in file.exposed), "exposed: name"),
        (file.forecast.expected_rain.values(), "forecast.expected_rain"),
        ((t.id for t in file.total_station), "total_station: id"),
    ):
        with faults.gathered():
            _reject_duplicates(names, f"{name}: {key}")
    with faults.gathered():
        _reject_former_ids(file.station, name)
    _check_forecast(file.forecast, stations if has_all_stations else None, name, faults)
    for fault in find_forecast_faults(file.forecast, file.site.id):
        with faults.gathered():
            raise ConfigError(f"{name}: {fault}")
    recipients, teams = _read_people(file, levels, name, faults)
    with faults.gathered():
        _read_movement(file.movement, file.forecast.every_s, name)
    exposed = faults.read_each(
        lambda table, where: _read_exposed(table, file.site, levels, where), file.exposed, f"{name}: exposed"
    )
    total_stations = faults.read_each(
        lambda table, where: _read_total_station(table, file.station, where),
        file.total_station,
        f"{name}: total_station",
    )
    with faults.gathered():
        _reject_shared_prisms(total_stations, file.station, name)
    faults.raise_any()
    criteria += tuple(_imply_advice(criteria, stations))
    _reject_duplicates((c.id for c in criteria), f"{name}: criterion: id")
    return make_record(
        domain.Site,
        file.site,
        levels=levels,
        stations=stations,
        criteria=criteria,
        fusion=read_fusion(file.fusion, criteria, stations, levels, name),
        forecast=make_record(
            domain.ForecastPlan,
            file.forecast,
            expected_rain=read_expected_rain(file.forecast.expected_rain, stations, f"{name}: forecast.expected_rain"),
        ),
        anomaly=make_record(domain.AnomalyPlan, file.anomaly),
        scenes=make_record(
            domain.ScenePlan, file.scenes, local=file.crs.local and make_record(domain.LocalGrid, file.crs.local)
        ),
        movement=_read_movement(file.movement, file.forecast.every_s, name),
        recipients=select_trial_recipients(recipients) if file.site.shadow else recipients,
        recipients_outside_shadow=recipients if file.site.shadow else (),
        teams=teams,
        quantities=tuple((q.name, q.unit) for q in file.quantity),
        decoders=tuple(_read_binding(d) for d in file.decoder),
        exposed=exposed,
        total_stations=total_stations,
        version=digest_text(text),
        source=text,
    )


def _check_forecast(table: Table, stations: Sequence[domain.Station] | None, name: str, faults: Faults) -> None:
    where = f"{name}: forecast.covariates"
    for model in table.models:
        with faults.gathered():
            if not is_network(model):
                raise ConfigError(f"{name}: forecast.models: {describe_unknown_model(model)}")
    if stations is None:
        return
    for covariate in (*table.covariates, *table.exclude_covariates):
        if covariate in (domain.MEASURED, *WORDS):
            continue
        with faults.gathered():
            if "." not in covariate:
                words = " or ".join(repr(word) for word in (domain.MEASURED, *WORDS))
                raise ConfigError(f"{where}: expected 'STATION.quantity', {words}, got {covariate!r}")
            find_series(covariate, stations, where)
            reject_rain_forecast(covariate, where)


def _read_outline(document: Mapping[str, Any], name: str) -> tuple[Table, tuple[domain.Level, ...]]:
    """Return the tables of the file and its levels.

    Raises:
        ConfigError: the structure of the file is wrong. Wrong keys of criteria are included.
    """
    faults = Faults()
    file: Table = None
    levels: tuple[domain.Level, ...] = ()
    with faults.gathered():
        file = _validate(make_site_file_model(), document, name)
    table, tables = document.get("levels", {}), document.get("criterion", ())
    if isinstance(table, Mapping):
        with faults.gathered():
            levels = _read_levels(table, name)
    if faults.lines and levels and isinstance(tables, Sequence):
        for index, raw in enumerate(tables):
            with faults.gathered():
                _read_raw_criterion(raw if isinstance(raw, Mapping) else {}, index, levels, name)
    faults.raise_any()
    if file is None:
        raise ConfigError(f"{name}: cannot be read")
    return file, levels


def _read_corners(corners: _Corners, site: Table, where: str) -> _Corners:
    """Check the corners of an outline. Return them without a repeated first corner at the end."""
    if corners[0] == corners[-1]:
        corners = corners[:-1]
    if len(set(corners)) < 3:
        raise ConfigError(f"{where}: expected at least three different corners, got {len(set(corners))}")
    for corner in corners:
        distance_m = measure_ground_distance_m((site.latitude, site.longitude), corner)
        if distance_m > LARGEST_DISTANCE_M:
            raise ConfigError(
                f"{where}: {list(corner)} is {distance_m / 1000.0:.0f} km from the site; expected at most "
                f"{LARGEST_DISTANCE_M / 1000.0:.0f} km. Write the latitude first"
            )
    if crosses_itself(corners):
        raise ConfigError(f"{where}: two edges cross or touch; list each corner once, in order along the outline")
    return corners


def _read_exposed(table: Table, site: Table, levels: tuple[domain.Level, ...], where: str) -> domain.Exposed:
    corners = _read_corners(table.corners, site, f"{where}.corners")
    numbers = {level.name: level.number for level in levels}
    number = levels[1].number if table.level is None else numbers.get(table.level, 0)
    if number == 0:
        expected = ", ".join(level.name for level in levels[1:])
        raise ConfigError(f"{where}.level: expected one of {expected}, got {table.level!r}")
    return make_record(domain.Exposed, table, corners=corners, level=number)


def _read_movement(table: Table, forecast_every_s: float, name: str) -> domain.MovementPlan:
    """Read the intervals of every stage. The default of `unknown` is the shortest interval of the other stages."""
    stages = []
    for stage, every_s in STAGE_EVERY_S.items():
        forecast_s = min(forecast_every_s, PROGRESSIVE_FORECAST_S) if stage == "progressive" else forecast_every_s
        stages.append(_make_stage(getattr(table, stage), stage, every_s, forecast_s))
    shortest_s = min(stage.evaluate_every_s for stage in stages)
    shortest_forecast_s = min(stage.forecast_every_s for stage in stages)
    unknown = table.unknown
    for key, declared_s, limit_s in (
        ("every", unknown.evaluate_every_s, shortest_s),
        ("forecast_every", unknown.forecast_every_s, shortest_forecast_s),
    ):
        if declared_s is not None and declared_s > limit_s:
            raise ConfigError(
                f"{name}: movement.unknown.{key}: expected at most {format_duration(limit_s)}, the shortest interval "
                "of the other stages, because an unknown stage may be any of them"
            )
    stages.append(_make_stage(unknown, "unknown", shortest_s, shortest_forecast_s))
    return make_record(domain.MovementPlan, table, stages=tuple(stages))


def _make_stage(table: Table, stage: str, every_s: float, forecast_every_s: float) -> domain.StagePlan:
    return make_record(
        domain.StagePlan,
        table,
        stage=stage,
        evaluate_every_s=table.evaluate_every_s or every_s,
        forecast_every_s=table.forecast_every_s or forecast_every_s,
    )


def find_weaknesses(site: domain.Site) -> list[str]:
    """Return the faults that do not prevent the use of a site file, but that `slopeward check` reports as errors.

    Examples are a channel that sends nothing and a top level that no instruments can reach.
    """
    weaknesses = list(_find_recipient_weaknesses(site))
    top = site.levels[-1]
    witnesses = list_top_witnesses(site)
    if len(witnesses) < site.fusion.top_needs:
        groups = "; ".join(", ".join(group) for group in witnesses) or "none"
        weaknesses.append(
            f"fusion.top_needs: level {top.name!r} needs {site.fusion.top_needs} independent witnesses, but only "
            f"{len(witnesses)} can vote for it ({groups}), so instruments never raise it. Stations that share a "
            "reference, logger, antenna or footprint are one witness. Add an independent station or a criterion with "
            f"a bound for {top.name!r}, or lower fusion.top_needs"
        )
    return weaknesses


def _find_recipient_weaknesses(site: domain.Site) -> Iterator[str]:
    # In shadow mode, too, all recipients are checked: the file must be correct on the day on which shadow mode ends.
    for recipient in site.all_recipients:
        for channel in recipient.channels:
            if (
                find_channel_traits(channel).write_document
                and recipient.ledgers != ("hazard",)
                and not recipient.by_team
            ):
                yield (
                    f"recipient {recipient.name!r}: channel {channel!r} carries hazards only; "
                    'set ledgers = ["hazard"], and add another recipient for the other ledgers'
                )
            if not is_line(channel):
                yield f"recipient {recipient.name!r}: channel {channel!r}: expected one line, no control characters"
        if site.shadow and recipient.by_team and recipient.trial:
            teams = [team.name for team in site.teams if recipient in team.members]
            if not any(r.trial and r.team is not None and r.team.name in teams for r in site.all_recipients):
                yield (
                    f"recipient {recipient.name!r}: trial = true has no effect, because it is notified only "
                    f"through its team; set trial = true at the [[recipient]] {domain.TEAM}{teams[0]}, or give "
                    f"{recipient.name!r} levels"
                )
    notified_teams = {recipient.team.name for recipient in site.all_recipients if recipient.team is not None}
    for team in site.teams:
        if team.name not in notified_teams:
            yield (
                f"team {team.name!r} is never notified: no recipient stands for it; add a [[recipient]] with "
                f'name = "{domain.TEAM}{team.name}"'
            )
    recipient_names = [recipient.name for recipient in site.all_recipients]
    exposed_names = [exposed.name for exposed in site.exposed]
    station_names = [station.name for station in site.stations if station.name]
    for name in (site.name, *recipient_names, *exposed_names, *station_names):
        # A line break would start a new line in messages.
        if not is_line(name):
            yield f"name {name!r}: expected one line without control characters"
    for name, first in unify_names(recipient_names).items():
        if name != first:
            yield f"recipients {first!r} and {name!r} are two spellings of one name; use clearly different names"


def find_cautions(site: domain.Site) -> list[str]:
    """Return warnings about a valid site file: settings that may hide a hazard or raise a false alarm."""
    absent = list_absent_sections(read_toml(site.source, site.id), make_site_file_model().written_keys())
    cautions = _find_unnotified_top(site)
    cautions += map(describe_absent_section, absent)
    cautions += _find_absent_features(site)
    if site.fusion.fast_track:
        cautions.append(
            f"fusion.fast_track = true: two independent stations that jump at one epoch raise {site.levels[-1].name!r} "
            "at once. One bad epoch of both stations (lightning, power supply, radio) does so, too. Set it to false "
            "unless minutes count"
        )
    for name, (longitude, latitude) in site.places.items():
        distance_m = measure_ground_distance_m((site.latitude, site.longitude), (latitude, longitude))
        if distance_m > LARGEST_DISTANCE_M:
            cautions.append(
                f"station {name} is {distance_m / 1000.0:,.0f} km from the site; check its latitude and longitude"
            )
    cautions += _find_doubtful_zone(site)
    ranks = [(_COLOUR_ORDER[level.name], level.name) for level in site.levels if level.name in _COLOUR_ORDER]
    for (rank, name), (next_rank, next_name) in pairwise(ranks):
        if next_rank < rank:
            cautions.append(
                f"levels.names: {name!r} is listed before {next_name!r}; list the levels from the lowest to the highest"
            )
    for criterion in site.criteria:
        if criterion.kind.per is None or criterion.kind.velocity:
            continue
        specs = [site.series(station, criterion.quantity) for station in criterion.stations]
        converted = [spec for spec in specs if spec is not None and spec.written_unit]
        if converted:
            spec = converted[0]
            unit = criterion.kind.unit_of(spec.unit)
            cautions.append(
                f"criterion {criterion.id}: bounds are in {unit}, but {spec.station}.{spec.quantity} is declared in "
                f"{spec.written_unit}; make sure that the bounds are converted to {unit}"
            )
    return cautions


def _find_absent_features(site: domain.Site) -> Iterator[str]:
    """Return a line for each feature that the site needs and that is not installed."""
    criteria: dict[str, list[str]] = {}
    for criterion in site.criteria:
        feature = criterion.kind.feature
        if feature is not None and not criterion.is_implied and not has_plugin(feature):
            criteria.setdefault(feature, []).append(criterion.id)
    corrected = [total_station.id for total_station in site.total_stations if total_station.references]
    if corrected and not has_plugin(_CORRECTING_FEATURE):
        yield (
            f"the feature {_CORRECTING_FEATURE!r} is not installed, so the references of {', '.join(corrected)} "
            "correct no prisms; install all of Slopeward, or delete references of [[total_station]]"
        )
    for feature, names in criteria.items():
        yield (
            f"the feature {feature!r} is not installed, so these criteria have no result and the site does not see "
            f'"full": {", ".join(names)}; install all of Slopeward, or delete them'
        )


def _find_doubtful_zone(site: domain.Site) -> list[str]:
    """Return a warning if the time zone does not fit the longitude of the site. UTC is always accepted."""
    zone = site.timezone
    if zone in {"UTC", "Etc/UTC", "GMT", "Zulu"}:
        return []
    solar_h = site.longitude / 15.0
    # Offsets in winter and in summer.
    offsets = [datetime(2025, month, 1, tzinfo=UTC).astimezone(ZoneInfo(zone)).utcoffset() for month in (1, 7)]
    offsets_h = [offset.total_seconds() / 3600.0 for offset in offsets if offset is not None]
    difference_h = min(abs((offset_h - solar_h + 12.0) % 24.0 - 12.0) for offset_h in offsets_h)
    comparison = (
        f"site.timezone: {zone!r} is UTC{offsets_h[0]:+g} h, but solar time at longitude {site.longitude:g} degrees is "
        f"UTC{solar_h:+.1f} h"
    )
    if difference_h > _LARGEST_ZONE_OFFSET_H:
        return [f"{comparison}; check the time zone and the longitude"]
    has_better_opposite = abs(-offsets_h[0] - solar_h) + 1.0 <= abs(offsets_h[0] - solar_h)
    if zone.startswith("Etc/GMT") and has_better_opposite:
        return [f"{comparison}; zones of this name have the opposite sign (Etc/GMT+1 is UTC-1), so change the sign"]
    return []


def _find_unnotified_top(site: domain.Site) -> list[str]:
    if not site.all_recipients:
        # A site without recipients has its own check.
        return []
    top = site.levels[-1]
    notified = [r for r in site.all_recipients if top.number in r.levels and "hazard" in r.ledgers]
    if not notified:
        return [f"no recipient is notified of the top level {top.name!r}; add it to the levels of a [[recipient]]"]
    channels: set[str] = set()
    for recipient in notified:
        for person in recipient.everybody:
            channels.update(name for name in person.readable if find_channel_traits(name).reaches_person)
    if not channels:
        text = (
            f"level {top.name!r} reaches nobody: no recipient has a channel to a person; set channels of a "
            '[[recipient]], such as "email:you@example.org"'
        )
        return [text]
    if len(channels) == 1:
        text = (
            f"level {top.name!r} reaches people only through {channels.pop()}: if this channel fails, nobody is "
            "notified; add a second channel or recipient"
        )
        return [text]
    return []


def _validate(model: type[_T], value: Any, name: str, prefix: str = "") -> _T:
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise explain(error, name, prefix) from None


def _reject_duplicates(names: Iterable[str], where: str) -> None:
    earlier = set()
    for name in names:
        if name in earlier:
            raise ConfigError(f"{where}: {name!r} appears twice; use each only once")
        earlier.add(name)


def _read_levels(table: Mapping[str, Any], name: str) -> tuple[domain.Level, ...]:
    # A table below [levels] belongs to one level.
    plain = {k: v for k, v in table.items() if k in LevelsTable.model_fields or not isinstance(v, Mapping)}
    head = _validate(LevelsTable, plain, name, "levels")
    single = {k: v for k, v in table.items() if k not in plain}
    for key in single:
        if key not in head.names:
            raise ConfigError(f"{name}: levels: {describe_unknown(key, [*LevelsTable.model_fields, *head.names])}")
    for index, level in enumerate(head.names):
        if any(level in entry.table.written_keys() for entry in load_criteria().values()):
            raise ConfigError(
                f"{name}: levels.names[{index}]: {level!r} is a key of [[criterion]]; choose another name"
            )
    # By default, only a person lowers the two highest levels.
    auto = head.auto_lower if head.auto_lower is not None else head.names[: max(1, len(head.names) - 2)]
    levels = []
    for number, level in enumerate(head.names):
        level_table = _validate(LevelTable, single.get(level, {}), name, f"levels.{level}")
        auto_lower = number == 0 or level in auto
        levels.append(make_record(domain.Level, level_table, number=number, name=level, auto_lower=auto_lower))
    return tuple(levels)


def _read_station(table: Table, site: Table, own_quantities: Mapping[str, QuantityTable], where: str) -> domain.Station:
    series = []
    for index, item in enumerate(table.series):
        series.append(_read_series(table.id, item, own_quantities, f"{where}.series[{index}]"))
    _reject_duplicates((spec.quantity for spec in series), f"{where}.series: quantity")
    _check_zone(table, where)
    if table.v_eq_mm_per_day is not None and not table.v_eq_reviewed.strip():
        raise ConfigError(f"{where}.v_eq_reviewed: state who reviewed v_eq_mm_per_day, when and on which data")
    return make_record(
        domain.Station,
        table,
        series=tuple(series),
        origin=_read_origin(table.origin),
        calibrated_on=str(table.calibrated_on) if table.calibrated_on else None,
        outline=() if table.outline is None else _read_corners(table.outline, site, f"{where}.outline"),
    )


def _reject_former_ids(stations: Sequence[Table], name: str) -> None:
    """Reject a former id that is in use, or that two stations have. Its history would have two owners."""
    current_ids = {station.id for station in stations}
    owners: dict[str, str] = {}
    for index, station in enumerate(stations):
        for former_id in station.was:
            where = f"{name}: station[{index}].was: {former_id!r}"
            if former_id == station.id:
                raise ConfigError(f"{where} is the current id of the station; list only ids that it had before")
            if former_id in current_ids:
                raise ConfigError(f"{where} is a station of this file; list only ids that no station has now")
            if former_id in owners:
                raise ConfigError(
                    f"{where} appears twice ({owners[former_id]}, {station.id}); list it at one station only"
                )
            owners[former_id] = station.id


def _check_zone(table: Table, where: str) -> None:
    """Reject a zone that velocity maps cannot fill, or that also has an instrument.

    All zones of velocity maps are one witness. An instrument at a zone would be part of the same witness. At other
    stations, a series that no map can fill is only a warning of `slopeward check`.
    """
    mapped = {spec.quantity for spec in table.series if spec.source == domain.VELOCITY_MAP}
    not_mapped = [spec.quantity for spec in table.series if spec.source != domain.VELOCITY_MAP]
    is_zone = table.outline is not None or any(spec.quantity in ZONE_QUANTITIES for spec in table.series)
    for index, spec in enumerate(table.series):
        key = f"{where}.series[{index}]"
        if is_zone and spec.source == domain.VELOCITY_MAP and spec.quantity not in VELOCITY_MAP_QUANTITIES:
            quantities = ", ".join(VELOCITY_MAP_QUANTITIES)
            raise ConfigError(f"{key}.source: a velocity map contains {quantities}, not {spec.quantity}; delete source")
        if spec.over_mm_per_day and spec.quantity != "moving_share":
            raise ConfigError(f"{key}.over_mm_per_day: only the quantity moving_share uses this key; delete it")
    has_position = table.latitude is not None and table.longitude is not None
    if is_zone and mapped and table.outline is None and not has_position:
        raise ConfigError(f"{where}: expected outline, or latitude and longitude, to read the velocity map there")
    if ZONE_QUANTITIES & mapped and not_mapped:
        raise ConfigError(f"{where}: this station is a zone of velocity maps; move {not_mapped[0]} to another station")


def _read_origin(table: OriginTable | None) -> domain.Origin | None:
    if table is None:
        return None
    since = table.since.astimezone(UTC)
    if table.latitude is not None and table.longitude is not None and table.height_m is not None:
        return domain.Origin(since, place=(table.latitude, table.longitude, table.height_m), height=table.height)
    return domain.Origin(since, baseline_m=(table.east_m, table.north_m, table.up_m))


def _read_total_station(table: Table, stations: Sequence[Table], where: str) -> domain.TotalStation:
    total_station = make_record(domain.TotalStation, table)
    names = [station.id for station in stations]
    for pattern in total_station.prisms:
        if not any(fnmatchcase(name, pattern) for name in names):
            raise ConfigError(f"{where}.prisms: {describe_unknown(pattern, names).replace('key', 'station', 1)}")
    for reference in total_station.references:
        if reference not in names:
            raise ConfigError(f"{where}.references: {describe_unknown(reference, names).replace('key', 'station', 1)}")
        if not total_station.measures(reference):
            raise ConfigError(f"{where}.references: {reference} is none of its prisms; add it to prisms")
    return total_station


def _reject_shared_prisms(total_stations: Sequence[domain.TotalStation], stations: Sequence[Table], name: str) -> None:
    """Reject a station that two instruments measure: it needs an id for each of them."""
    for station in stations:
        owners = [one.id for one in total_stations if one.measures(station.id)]
        if len(owners) > 1:
            raise ConfigError(
                f"{name}: total_station.prisms: {station.id} belongs to {' and '.join(owners)}; use a station for each "
                "instrument, and list the prisms of each"
            )


def _read_binding(table: Table) -> domain.Binding:
    settings = table.model_dump(exclude={"pattern", "name", "station", "series"}, exclude_defaults=True)
    return make_record(domain.Binding, table, series=tuple(table.series.items()), settings=tuple(settings.items()))


def _read_series(
    station: str, table: Table, own_quantities: Mapping[str, QuantityTable], where: str
) -> domain.SeriesSpec:
    quantity = QUANTITIES.get(table.quantity) or own_quantities.get(table.quantity)
    if quantity is None:
        text = describe_unknown(table.quantity, [*QUANTITIES, *own_quantities])
        text = text.replace("unknown key", "unknown quantity", 1)
        raise ConfigError(f"{where}.quantity: {text}, or one declared by [[quantity]]")
    canonical = "index" if table.unit == "index" else quantity.unit
    if table.unit not in UNITS and table.unit != canonical:
        raise ConfigError(f"{where}.unit: {describe_unknown(table.unit, UNITS).replace('key', 'unit', 1)}")
    to_canonical = partial(_convert_key, where=where, unit=table.unit, canonical=canonical)
    to_canonical(1.0, "unit")
    for key in ("noise_floor", "verify_step"):
        if getattr(table, key) is not None and getattr(table, f"{key}_mm") is not None:
            raise ConfigError(f"{where}.{key}: expected only one of {key} and {key}_mm; delete one of them")
    noise_floor = to_canonical(table.noise_floor, "noise_floor", is_difference=True)
    noise_key = "noise_floor"
    if noise_floor is None and table.noise_floor_mm is not None:
        noise_key = "noise_floor_mm"
        noise_floor = to_canonical(table.noise_floor_mm, noise_key, unit="mm", is_difference=True)
    _check_noise(noise_floor, noise_key, quantity, canonical, where)
    verify_step = to_canonical(table.verify_step, "verify_step", is_difference=True)
    if verify_step is None:
        verify_step = to_canonical(table.verify_step_mm, "verify_step_mm", unit="mm", is_difference=True)
    value_range = {}
    for end in ("low", "high"):
        value = to_canonical(getattr(table, end), end)
        value_range[end] = getattr(own_quantities.get(table.quantity), end, None) if value is None else value
    if table.stamp == "counter" and value_range["high"] is None:
        # The range of the quantity is that of one interval. A counter is a sum over many intervals.
        value_range["high"] = LARGEST_COUNT
    _check_series(table, value_range, where)
    return make_record(
        domain.SeriesSpec,
        table,
        **value_range,
        station=station,
        unit=canonical,
        noise_floor=noise_floor or 0.0,
        verify_step=verify_step,
        empty=to_canonical(table.empty, "empty"),
        physical=tuple(sorted(set(table.physical))),
        max_silence_s=table.max_silence_s or DEFAULT_SILENCE_INTERVALS * table.interval_s,
        learns_silence=table.max_silence_s is None,
        may_fall=to_canonical(table.may_fall, "may_fall", is_difference=True),
        may_rise=to_canonical(table.may_rise, "may_rise", is_difference=True),
        written_unit="" if table.unit == canonical else table.unit,
    )


def _convert_key(
    value: float | None, key: str, *, where: str, unit: str, canonical: str, is_difference: bool = False
) -> float | None:
    """Convert the value of a key to the canonical unit. Differences (noise, steps) ignore the zero of the scale."""
    if value is None:
        return None
    function = convert_difference if is_difference else convert
    try:
        return function(value, unit, canonical)
    except ValueError as error:
        raise ConfigError(f"{where}.{key}: {error}") from None


def _check_series(table: Table, value_range: Mapping[str, float | None], where: str) -> None:
    if table.empty is not None and table.quantity not in {BATTERY_VOLTAGE, BATTERY_LEVEL}:
        raise ConfigError(f"{where}.empty: only {BATTERY_VOLTAGE} and {BATTERY_LEVEL} use this key; delete it")
    low = value_range["low"]
    high = value_range["high"]
    if low is not None and high is not None and low >= high:
        raise ConfigError(f"{where}.low: expected less than high = {high:g}, got {low:g}")
    for end in table.physical:
        if value_range[end] is None:
            raise ConfigError(f"{where}.physical: {end!r} has no number; set {end}, or delete it from physical")
    if table.max_silence_s is not None and table.max_silence_s < table.interval_s:
        raise ConfigError(f"{where}.max_silence: expected at least interval = {format_duration(table.interval_s)}")


def _check_noise(noise: float | None, key: str, quantity: Quantity | QuantityTable, unit: str, where: str) -> None:
    """Reject noise that no instrument has: more than 10 m, or for other units a tenth of the range of the quantity."""
    if noise is None or unit != quantity.unit:
        return
    limit = math.inf
    if unit == "mm":
        limit = LARGEST_NOISE_MM
    elif quantity.low is not None and quantity.high is not None:
        limit = (quantity.high - quantity.low) / 10.0
    if noise > limit:
        raise ConfigError(
            f"{where}.{key}: expected at most {limit:g} {unit}, got {noise:g} {unit}; enter the standard deviation of "
            "readings without movement"
        )


def _read_people(
    file: Table, levels: Sequence[domain.Level], name: str, faults: Faults
) -> tuple[tuple[domain.Recipient, ...], tuple[domain.Team, ...]]:
    """Read [[recipient]] and [[team]]."""
    team_members = [member for team in file.team for member in team.members]
    recipients: dict[int, domain.Recipient] = {}
    for index, table in enumerate(file.recipient):
        with faults.gathered():
            by_team = table.levels is None and any(is_same_person(table.name, member) for member in team_members)
            recipients[index] = _read_recipient(
                table, levels, f"{name}: recipient[{index}]", file.site.timezone, by_team=by_team
            )
    if len(recipients) < len(file.recipient):
        # References to a recipient that cannot be read would only be further faults.
        return tuple(recipients.values()), ()
    with faults.gathered():
        _reject_duplicates((fold_name(team.name) for team in file.team), f"{name}: team: name")
    teams = faults.read_each(
        lambda table, where: _read_team(table, file, tuple(recipients.values()), where), file.team, f"{name}: team"
    )
    if len(teams) < len(file.team):
        return tuple(recipients.values()), teams
    teams_by_recipient = {f"{domain.TEAM}{team.name}": team for team in teams}
    for index, table in enumerate(file.recipient):
        if not table.name.startswith(domain.TEAM):
            continue
        with faults.gathered():
            team = teams_by_recipient.get(table.name)
            if team is None:
                names = ", ".join(teams_by_recipient) or "a [[team]], of which the file has none"
                raise ConfigError(f"{name}: recipient[{index}].name: {table.name!r} is no team; expected {names}")
            recipients[index] = replace(recipients[index], team=team)
    return tuple(recipients.values()), teams


def _read_team(table: Table, file: Table, recipients: Sequence[domain.Recipient], where: str) -> domain.Team:
    people = [recipient for recipient in recipients if not recipient.name.startswith(domain.TEAM)]
    members: list[domain.Recipient] = []
    for index, name in enumerate(table.members):
        member = next((person for person in people if is_same_person(person.name, name)), None)
        if member is None:
            names = ", ".join(person.name for person in people) or "none"
            raise ConfigError(f"{where}.members[{index}]: expected the name of a [[recipient]] ({names}), got {name!r}")
        if member in members:
            raise ConfigError(f"{where}.members[{index}]: {name!r} appears twice; list each member once")
        members.append(member)
    lead = ""
    if table.lead:
        lead = next((member.name for member in members if is_same_person(member.name, table.lead)), "")
        if not lead:
            raise ConfigError(f"{where}.lead: expected one of the members, got {table.lead!r}")
    return make_record(
        domain.Team, table, site=file.site.id, zone=file.site.timezone, members=tuple(members), lead=lead
    )


def _read_recipient(
    table: Table, levels: Sequence[domain.Level], where: str, zone: str, *, by_team: bool
) -> domain.Recipient:
    is_team = table.name.startswith(domain.TEAM)
    if is_team:
        for key in PERSON_KEYS:
            if getattr(table, key):
                raise ConfigError(f"{where}.{key}: a team has no {key}; set it at the members of the team")
    elif not table.channels:
        raise ConfigError(f'{where}.channels: expected at least one channel, such as "email:you@example.org"')
    for index, channel in enumerate(table.channels):
        if split_channel(channel)[0] not in list_channel_kinds():
            kinds = ", ".join(list_channel_kinds())
            raise ConfigError(
                f"{where}.channels[{index}]: expected kind:address with a kind of {kinds}, got {channel!r}"
            )
        fault = find_topic_fault(channel)
        if fault:
            raise ConfigError(f"{where}.channels[{index}]: {fault}")
    by_team = by_team and not is_team
    if not table.levels and any(find_channel_traits(channel).orders for channel in table.channels):
        raise ConfigError(f"{where}.levels: expected the levels at which the siren sounds; a siren has no default")
    names = table.levels if table.levels is not None else tuple(level.name for level in levels[1:])
    numbers = tuple(find_level(level, levels, f"{where}.levels") for level in names)
    return make_record(
        domain.Recipient,
        table,
        levels=() if by_team else numbers,
        ledgers=() if by_team else table.ledgers,
        language=table.language or "",
        by_team=by_team,
        quiet=_read_time(table.quiet, lambda text: read_quiet(text, zone), f"{where}.quiet"),
        digest=_read_time(table.digest, read_minute, f"{where}.digest"),
    )


def _read_time(text: str, read: Callable[[str], _R], where: str) -> _R | None:
    try:
        return read(text) if text else None
    except ValueError as error:
        raise ConfigError(f"{where}: {error}") from None


@dataclass(frozen=True, slots=True)
class _RawCriterion:
    """A [[criterion]] whose keys are valid.

    Attributes:
        name: name of the site file.
        where: `criterion[INDEX]`.
    """

    name: str
    where: str
    table: CriterionTable
    entry: KindEntry


def _read_raw_criterion(raw: Mapping[str, Any], index: int, levels: Sequence[domain.Level], name: str) -> _RawCriterion:
    where = f"criterion[{index}]"
    faults = Faults()
    kind = raw.get("kind")
    kinds = load_criteria()
    if not isinstance(kind, str) or kind not in kinds:
        raise ConfigError(f"{name}: {where}.kind: {describe_unknown(str(kind), kinds).replace('key', 'kind', 1)}")
    entry = kinds[kind]
    table_keys = entry.table.written_keys()
    level_names = [level.name for level in levels] if entry.bound else []
    for key in raw:
        if key not in table_keys and key not in level_names:
            text = _describe_wrong_key(key, entry, [*table_keys, *level_names[1:]])
            faults.lines.append(f"{name}: {where}: {text}")
    table: CriterionTable | None = None
    with faults.gathered():
        table = _validate(entry.table, {key: raw[key] for key in raw if key in table_keys}, name, where)
    faults.raise_any()
    assert table is not None
    return _RawCriterion(name, where, table, entry)


def _describe_wrong_key(key: str, entry: KindEntry, keys: Sequence[str]) -> str:
    if any(key in other.table.written_keys() for other in load_criteria().values()):
        return f"the kind {entry.kind.id!r} has no key {key!r}; expected one of: {', '.join(keys)}"
    return describe_unknown(key, keys)


def _find_validity_s(table: CriterionTable, places: Places, station_ids: Sequence[str], quantity: str) -> float:
    """Return how long a vote counts, in seconds.

    Without `valid_for` in the file, this is at least the longest `max_silence` of the series that the criterion reads.
    """
    validity_s = table.valid_for
    if "valid_for" in table.model_fields_set or places.kind.source != "instruments":
        return validity_s
    for station in places.stations:
        spec = station.find_series(quantity) if station.id in station_ids else None
        if spec is not None:
            validity_s = max(validity_s, spec.max_silence_s)
    return validity_s


def _read_criterion(raw: _RawCriterion, places: Places, counts: dict[str, int]) -> domain.Criterion:
    """Read one criterion.

    Args:
        raw: the table.
        places: what names in the table refer to.
        counts: number of criteria so far by kind. Default ids contain it.

    Raises:
        ConfigError: the criterion is wrong, or the code of a third-party plugin that reads it failed.
    """
    try:
        return _complete_criterion(raw, places, counts)
    except ConfigError:
        raise
    except Exception as error:
        if not raw.entry.plugin:
            raise
        text = f"{type(error).__name__}: {error}"
        raise ConfigError(f"{places.where}: the plugin {raw.entry.plugin} cannot read it: {text}") from error


def _complete_criterion(raw: _RawCriterion, places: Places, counts: dict[str, int]) -> domain.Criterion:
    table = raw.table
    kind = raw.entry.kind
    counts[kind.id] = counts.get(kind.id, 0) + 1
    station_ids, quantity = table.find_target(places)
    dwell = getattr(table, "dwell", DwellTable())
    criterion = make_record(
        domain.Criterion,
        table,
        id=table.id or f"{kind.id}-{counts[kind.id]}",
        kind=kind,
        stations=station_ids,
        quantity=quantity,
        thresholds=_read_thresholds(raw, places),
        valid_for_s=_find_validity_s(table, places, station_ids, quantity),
        dwell=domain.Dwell(dwell.hits, dwell.of, dwell.within),
        role=table.role or kind.role,
        valid_until=None if table.valid_until is None else table.valid_until.isoformat(),
    )
    criterion = table.complete(criterion, places)
    check_history(raw.entry, criterion)
    return criterion


def _imply_advice(
    criteria: Sequence[domain.Criterion], stations: Sequence[domain.Station]
) -> Iterable[domain.Criterion]:
    """Return the criteria that Slopeward adds as advice, for kinds that the site file does not use."""
    declared_kinds = {criterion.kind for criterion in criteria}
    displacement = [
        spec
        for station in stations
        for spec in station.series
        if spec.quantity.startswith("displacement") and not spec.corrected_as
    ]
    if not displacement:
        return
    station_ids = tuple(dict.fromkeys(spec.station for spec in displacement))
    slowest_s = max(spec.interval_s for spec in displacement)
    for entry in load_criteria().values():
        if entry.implied_s is not None and entry.kind not in declared_kinds:
            yield domain.Criterion(
                id=f"{entry.kind.id}-advice",
                kind=entry.kind,
                stations=station_ids,
                quantity="",
                thresholds=(domain.Threshold(1),),
                valid_for_s=entry.implied_s(slowest_s),
                role="advice",
                author=domain.IMPLIED_BY,
                reason="advice is always raised",
            )


def _make_thresholds(level: int, values: Section) -> list[domain.Threshold]:
    """Return the thresholds of one level: two if it is bounded in both directions of an axis."""
    threshold = domain.Threshold(
        level=level,
        over=getattr(values, "over", None),
        under=getattr(values, "under", None),
        window_s=getattr(values, "window", None) or getattr(values, "within", None),
        probability=getattr(values, "probability", None),
    )
    if threshold.over is None or threshold.under is None:
        return [threshold]
    return [replace(threshold, under=None), replace(threshold, over=None)]


def _read_thresholds(raw: _RawCriterion, places: Places) -> tuple[domain.Threshold, ...]:
    levels = places.levels
    bound = raw.entry.bound
    if bound is None:
        number = find_level(str(getattr(raw.table, "level", "")), levels, f"{places.where}.level")
        if number == 0:
            raise ConfigError(f"{places.where}.level: expected a level above {levels[0].name!r}")
        return (domain.Threshold(number),)
    thresholds = []
    for level in levels:
        if level.name not in places.raw:
            continue
        key = f"{places.where}.{level.name}"
        if level.number == 0:
            raise ConfigError(f"{key}: the lowest level has no bound; delete it, or name a higher level")
        values = _validate(bound, places.raw[level.name], raw.name, f"{raw.where}.{level.name}")
        for threshold in _make_thresholds(level.number, values):
            raw.table.refuse_bound(threshold, places, key)
            thresholds.append(threshold)
    if not thresholds:
        names = ", ".join(level.name for level in levels[1:])
        raise ConfigError(f"{places.where}: expected a bound for at least one level of: {names}")
    raw.table.refuse_order(thresholds, places)
    return tuple(thresholds)
