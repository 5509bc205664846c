"""From a site file's text to the frozen domain records: names resolved, units canonical, contradictions refused."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from itertools import pairwise
from typing import Any, Final, TypeVar
from zoneinfo import ZoneInfo

from pydantic import ValidationError

from forecasting.data.kinds import WORDS
from forecasting.registry import describe_unknown_model, is_model
from monitor.canonical import digest_text
from monitor.errors import ConfigError
from monitor.plugins import has_plugin, hooks
from monitor.sections import Faults, Section, describe_unknown, explain, join_faults, make_record, read_toml
from monitor.sites import records as domain
from monitor.sites.absent_sections import describe_absent_section, list_absent_sections
from monitor.sites.channels import find_channel_traits, find_topic_fault, list_channel_kinds, split_channel
from monitor.sites.criteria.entry import KindEntry, check_history
from monitor.sites.criteria.places import Places, find_level, find_series
from monitor.sites.criteria.rain_sections import read_expected_rain, refuse_expected
from monitor.sites.criteria.registry import load_criteria
from monitor.sites.criteria.sections import CriterionTable, DwellTable
from monitor.sites.fusion_sections import find_unfit, read_fusion
from monitor.sites.ground import crosses_itself, measure_ground_distance_m
from monitor.sites.parents import GONE
from monitor.sites.quantities import (
    BATTERY_LEVEL,
    BATTERY_VOLTAGE,
    OF_ZONES,
    QUANTITIES,
    UNITS,
    VELOCITY_MAP_QUANTITIES,
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
from monitor.sites.witnesses import list_top_witnesses
from monitor.text.instants import format_duration
from monitor.text.names import fold_name, is_line, is_same_person, unify_names
from monitor.text.zones import read_minute

_T = TypeVar("_T", bound=Section)
_Corners = tuple[tuple[float, float], ...]
_R = TypeVar("_R")
OF_PEOPLE: Final = ("channels", "people", "language", "phone", "quiet", "digest")  # which no team has
_FARTHEST_ZONE_H: Final = 4.0  # no country's clock is farther from the sun
_COLOURS: Final = {"green": 0, "yellow": 1, "amber": 2, "orange": 2, "red": 3}  # as levels are called
FARTHEST_M: Final = 100_000.0  # what a landslide may reach; farther away is a mistake
LARGEST_COUNT: Final = 1e9
NOISIEST_MM: Final = 1e4  # the receiver of a telephone, the pixel of a satellite
PROGRESSIVE_FORECAST_S: Final = 3600.0


def parse_site(text: str, name: str) -> domain.Site:
    """Read a site file's text.

    Args:
        text: the TOML text; its SHA-256 becomes the site's `version`.

    Raises:
        ConfigError: one line with the file, the key and what was expected; `faults` has all that is wrong.
    """
    document = read_toml(text, name)
    absent = list_absent_sections(document, make_site_file_model().written_keys())
    try:
        return _read_site({key: table for key, table in document.items() if key not in absent}, text, name)
    except ConfigError as error:
        if not absent:
            raise
        # What refers to stations or series of the ignored sections is refused.
        raise join_faults([*error.faults, *(f"{name}: {describe_absent_section(one)}" for one in absent)]) from error


def _read_site(document: Mapping[str, Any], text: str, name: str) -> domain.Site:
    file, levels = _read_outline(document, name)
    for sections in hooks().site_file_sections():
        file = sections.expand(file, name)
    faults, own = Faults(), {q.name: q for q in file.quantity}
    for index, quantity in enumerate(file.quantity):
        with faults.gathered():
            if quantity.name in QUANTITIES:
                raise ConfigError(
                    f"{name}: quantity[{index}].name: {quantity.name!r} exists already; expected a new name"
                )
    stations = faults.read_each(
        lambda table, where: _read_station(table, file.site, own, where), file.station, f"{name}: station"
    )
    whole = len(stations) == len(file.station)  # else what refers to stations would be refused for nothing
    criteria: tuple[domain.Criterion, ...] = ()
    counts: dict[str, int] = {}
    for index, raw in enumerate(file.criterion):
        with faults.gathered():
            shape = _read_shape(raw, index, levels, name)
            where = f"{name}: {shape.where}"
            places = Places(
                where=where,
                kind=shape.entry.kind,
                raw=raw,
                levels=levels,
                stations=stations,
                horizons_s=file.forecast.horizons_s,
            )
            if whole:
                criteria += (_read_criterion(shape, places, counts),)
    for names, what in (
        ((s.id for s in file.station), "station: id"),
        ((c.id for c in criteria), "criterion: id"),
        ((r.name for r in file.recipient), "recipient: name"),
        ((e.name for e in file.exposed), "exposed: name"),
        (file.forecast.expected_rain.values(), "forecast.expected_rain"),
    ):
        with faults.gathered():
            _refuse_doubles(names, f"{name}: {what}")
    with faults.gathered():
        _refuse_former(file.station, name)
    _check_forecast(file.forecast, stations if whole else None, name, faults)
    for fault in find_unfit(file.forecast, file.site.id):
        with faults.gathered():
            raise ConfigError(f"{name}: {fault}")
    recipients, teams = _read_people(file, levels, name, faults)
    with faults.gathered():
        _read_movement(file.movement, file.forecast.every_s, name)
    exposed = faults.read_each(
        lambda table, where: _read_exposed(table, file.site, levels, where), file.exposed, f"{name}: exposed"
    )
    faults.raise_any()
    criteria += tuple(_imply_advice(criteria, stations))
    _refuse_doubles((c.id for c in criteria), f"{name}: criterion: id")
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
        recipients=recipients,
        teams=teams,
        quantities=tuple((q.name, q.unit) for q in file.quantity),
        decoders=tuple(_read_binding(d) for d in file.decoder),
        exposed=exposed,
        version=digest_text(text),
        source=text,
    )


def _check_forecast(table: Table, stations: Sequence[domain.Station] | None, name: str, faults: Faults) -> None:
    where = f"{name}: forecast.covariates"
    for model in table.models:
        with faults.gathered():
            if not is_model(model):
                raise ConfigError(f"{name}: forecast.models: {describe_unknown_model(model)}")
    for covariate in [] if stations is None else [one for one in table.covariates if one not in WORDS]:
        with faults.gathered():
            if "." not in covariate:
                words = " or ".join(repr(one) for one in WORDS)
                raise ConfigError(f"{where}: expected 'STATION.quantity', {words}, got {covariate!r}")
            find_series(covariate, stations or (), where)
            refuse_expected(covariate, where)


def _read_outline(document: Mapping[str, Any], name: str) -> tuple[Table, tuple[domain.Level, ...]]:
    """The tables of the file and its levels; what is wrong with them or with criteria comes at once."""
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
                _read_shape(raw if isinstance(raw, Mapping) else {}, index, levels, name)
    faults.raise_any()
    if file is None:
        raise ConfigError(f"{name}: cannot be read")
    return file, levels


def _read_corners(corners: _Corners, site: Table, where: str) -> _Corners:
    """Corners near the slope and in their order; the last is not the first again."""
    corners = corners[:-1] if corners[0] == corners[-1] else corners
    if len(set(corners)) < 3:
        raise ConfigError(f"{where}: expected three different corners at least, got {len(set(corners))}")
    for corner in corners:
        if (far_m := measure_ground_distance_m((site.latitude, site.longitude), corner)) > FARTHEST_M:
            raise ConfigError(
                f"{where}: {list(corner)} lies {far_m / 1000.0:.0f} km from the site; expected at most "
                f"{FARTHEST_M / 1000.0:.0f} km (latitude comes first)"
            )
    if crosses_itself(corners):
        raise ConfigError(
            f"{where}: two edges cross or touch; expected each corner once, in the order of a walk around it"
        )
    return corners


def _read_exposed(table: Table, site: Table, levels: tuple[domain.Level, ...], where: str) -> domain.Exposed:
    """What would be reached; from the first level on unless it says."""
    corners = _read_corners(table.corners, site, f"{where}.corners")
    names = {v.name: v.number for v in levels}
    if table.level is not None and names.get(table.level, 0) == 0:
        expected = ", ".join(v.name for v in levels[1:])
        raise ConfigError(f"{where}.level: {table.level!r}: expected one of {expected}")
    return make_record(
        domain.Exposed, table, corners=corners, level=names[table.level] if table.level else levels[1].number
    )


def _read_movement(table: Table, forecast_every_s: float, name: str) -> domain.MovementPlan:
    """Every stage with its cadence; `unknown` is looked at as often as the most frequent of the others."""
    stages = []
    for stage, every_s in STAGE_EVERY_S.items():
        own = getattr(table, stage)
        forecast_s = min(forecast_every_s, PROGRESSIVE_FORECAST_S) if stage == "progressive" else forecast_every_s
        stages.append(_make_stage(own, stage, every_s, forecast_s))
    most_s = min(s.evaluate_every_s for s in stages)
    most_forecast_s = min(s.forecast_every_s for s in stages)
    own = table.unknown
    given = (("every", own.evaluate_every_s, most_s), ("forecast_every", own.forecast_every_s, most_forecast_s))
    for key, given_s, limit_s in given:
        if given_s is not None and given_s > limit_s:
            raise ConfigError(
                f"{name}: movement.unknown.{key}: expected at most {format_duration(limit_s)}, the most frequent of "
                "the other stages: what nobody knows is looked at no less"
            )
    return make_record(
        domain.MovementPlan, table, stages=(*stages, _make_stage(own, "unknown", most_s, most_forecast_s))
    )


def _make_stage(table: Table, stage: str, every_s: float, forecast_every_s: float) -> domain.StagePlan:
    return make_record(
        domain.StagePlan,
        table,
        stage=stage,
        evaluate_every_s=table.evaluate_every_s or every_s,
        forecast_every_s=table.forecast_every_s or forecast_every_s,
    )


def find_weaknesses(site: domain.Site) -> list[str]:
    """What the site file allows and `check` refuses: a channel that sends nothing, a top level out of reach."""
    found = list(_find_unserved_recipients(site))
    top = site.levels[-1]
    witnesses = list_top_witnesses(site)
    if len(witnesses) >= site.fusion.top_needs:
        return found
    who = "; ".join(", ".join(group) for group in witnesses) or "none"
    text = (
        f"level {top.name!r} can never be reached by instruments: fusion.top_needs = {site.fusion.top_needs} "
        f"independent witnesses, but only {len(witnesses)} can vote for it ({who}); stations that share a reference, "
        f"logger, antenna or footprint are one witness. Add an independent station or criterion with a bound for "
        f"{top.name!r}, or lower fusion.top_needs"
    )
    return [*found, text]


def _find_unserved_recipients(site: domain.Site) -> Iterator[str]:
    for recipient in site.recipients:
        for channel in recipient.channels:
            if (
                find_channel_traits(channel).write_document
                and recipient.ledgers != ("hazard",)
                and not recipient.by_team
            ):
                yield (
                    f"recipient {recipient.name!r}: channel {channel!r} carries hazards only; "
                    'expected ledgers = ["hazard"], and another recipient for the rest'
                )
            if not is_line(channel):
                yield f"recipient {recipient.name!r}: channel {channel!r}: expected one line, no control characters"
    declared = {r.team.name for r in site.recipients if r.team is not None}
    for team in (t.name for t in site.teams if t.name not in declared):
        yield f'team {team!r}: nobody notifies it; add a [[recipient]] with name = "{domain.TEAM}{team}"'
    names = [r.name for r in site.recipients]
    for name in (site.name, *names, *(one.name for one in site.exposed), *(s.name for s in site.stations if s.name)):
        if not is_line(name):  # in a message it would begin a line of its own
            yield f"{name!r}: expected a name of one line, without control characters"
    for name, first in unify_names(names).items():
        if name != first:
            yield f"recipients {first!r} and {name!r} are two spellings of one name; expected different names"


def find_cautions(site: domain.Site) -> list[str]:
    """What works and yet may leave a hazard untold, or tell one that is none."""
    absent = list_absent_sections(read_toml(site.source, site.id), make_site_file_model().written_keys())
    found = [*_find_unnotified_top(site), *map(describe_absent_section, absent), *_find_absent_features(site)]
    if site.fusion.fast_track:
        found.append(
            f"fusion.fast_track = true: two independent stations that jump at one epoch raise {site.levels[-1].name!r} "
            "at once; one bad epoch of both (lightning, supply, radio) does so as well"
        )
    for name, (longitude, latitude) in site.places.items():
        if (far_m := measure_ground_distance_m((site.latitude, site.longitude), (latitude, longitude))) > FARTHEST_M:
            found.append(f"station {name} lies {far_m / 1000.0:,.0f} km from the site: is its place right?")
    found += _find_doubtful_zone(site)
    ranks = [(_COLOURS[level.name], level.name) for level in site.levels if level.name in _COLOURS]
    for (rank, name), (next_rank, next_name) in pairwise(ranks):
        if next_rank < rank:
            found.append(f"levels.names run from the least to the worst: {name!r} stands before {next_name!r}")
    for criterion in (c for c in site.criteria if c.kind.per is not None and not c.kind.velocity):
        specs = (site.series(name, criterion.quantity) for name in criterion.stations)
        if spec := next((one for one in specs if one is not None and one.written_unit), None):
            found.append(
                f"criterion {criterion.id}: its bounds count in {criterion.kind.unit_of(spec.unit)}, and "
                f"{spec.station}.{spec.quantity} is written in {spec.written_unit}: are they converted?"
            )
    return found


def _find_absent_features(site: domain.Site) -> Iterator[str]:
    """Yield a line for each feature that is not installed and whose facts criteria of the site file read."""
    criteria: dict[str, list[str]] = {}
    for criterion in site.criteria:
        feature = criterion.kind.feature
        if feature is not None and not criterion.is_implied and not has_plugin(feature):
            criteria.setdefault(feature, []).append(criterion.id)
    for feature, names in criteria.items():
        yield (
            f"the feature {feature!r} is not installed, so these criteria have no result and the site does not see "
            f'"full": {", ".join(names)}; install all of Slopeward, or delete them'
        )


def _find_doubtful_zone(site: domain.Site) -> list[str]:
    """A zone whose clock no place at the site's longitude has; UTC is any place's choice."""
    zone, sun_h = site.timezone, site.longitude / 15.0
    if zone in {"UTC", "Etc/UTC", "GMT", "Zulu"}:
        return []
    offsets = [datetime(2025, month, 1, tzinfo=UTC).astimezone(ZoneInfo(zone)).utcoffset() for month in (1, 7)]
    ahead_h = [one.total_seconds() / 3600.0 for one in offsets if one is not None]
    off_h = min(abs((one - sun_h + 12.0) % 24.0 - 12.0) for one in ahead_h)
    clock = (
        f"site.timezone {zone!r} is {ahead_h[0]:+g} h from UTC, the sun at {site.longitude:g} degrees {sun_h:+.1f} h"
    )
    if off_h > _FARTHEST_ZONE_H:
        return [f"{clock}: is it the zone of the site?"]
    if zone.startswith("Etc/GMT") and abs(-ahead_h[0] - sun_h) + 1.0 <= abs(ahead_h[0] - sun_h):
        return [f"{clock}: zones of this name count the other way, is the opposite sign meant?"]
    return []


def _find_unnotified_top(site: domain.Site) -> list[str]:
    if not site.recipients:
        return []  # nobody at all is said elsewhere
    top = site.levels[-1]
    notified = [r for r in site.recipients if top.number in r.levels and "hazard" in r.ledgers]
    if not notified:
        return [f"no recipient is notified of the top level {top.name!r}: add it to the levels of a [[recipient]]"]
    every = {channel for recipient in notified for one in recipient.everybody for channel in one.readable}
    channels = sorted(channel for channel in every if find_channel_traits(channel).reaches_person)
    if len(channels) > 1:
        return []
    if not channels:
        text = (
            f"level {top.name!r} reaches nobody: no recipient has a channel to a person; set channels of a "
            '[[recipient]], such as "email:you@example.org"'
        )
        return [text]
    text = (
        f"level {top.name!r} reaches people by {channels[0]} alone: if this channel fails, nobody is notified; add a "
        "second channel or recipient"
    )
    return [text]


def _validate(model: type[_T], value: Any, name: str, prefix: str = "") -> _T:
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise explain(error, name, prefix) from None


def _refuse_doubles(names: Iterable[str], where: str) -> None:
    seen = set()
    for name in names:
        if name in seen:
            raise ConfigError(f"{where}: {name!r} appears twice; expected different ones")
        seen.add(name)


def _read_levels(table: Mapping[str, Any], name: str) -> tuple[domain.Level, ...]:
    plain = {k: v for k, v in table.items() if k in LevelsTable.model_fields or not isinstance(v, Mapping)}
    head = _validate(LevelsTable, plain, name, "levels")
    single = {k: v for k, v in table.items() if k not in plain}
    for key in single:
        if key not in head.names:
            raise ConfigError(f"{name}: levels: {describe_unknown(key, [*LevelsTable.model_fields, *head.names])}")
    for index, level in enumerate(head.names):
        if any(level in keys for keys in (entry.table.written_keys() for entry in load_criteria().values())):
            raise ConfigError(f"{name}: levels.names[{index}]: {level!r} is a key of criteria; expected another name")
    # the two highest levels fall by a person unless the site says otherwise
    auto = head.auto_lower if head.auto_lower is not None else head.names[: max(1, len(head.names) - 2)]
    levels = []
    for number, level in enumerate(head.names):
        own = _validate(LevelTable, single.get(level, {}), name, f"levels.{level}")
        levels.append(
            make_record(domain.Level, own, number=number, name=level, auto_lower=number == 0 or level in auto)
        )
    return tuple(levels)


def _read_station(table: Table, site: Table, own: Mapping[str, QuantityTable], where: str) -> domain.Station:
    series = []
    for index, item in enumerate(table.series):
        series.append(_read_series(table.id, item, own, f"{where}.series[{index}]"))
    _refuse_doubles((s.quantity for s in series), f"{where}.series: quantity")
    _refuse_unmapped(table, where)
    if table.v_eq_mm_per_day is not None and not table.v_eq_reviewed.strip():
        raise ConfigError(f"{where}.v_eq_reviewed: expected who reviewed v_eq_mm_per_day, when and on which data")
    return make_record(
        domain.Station,
        table,
        series=tuple(series),
        origin=_read_origin(table.origin),
        calibrated_on=str(table.calibrated_on) if table.calibrated_on else None,
        outline=() if table.outline is None else _read_corners(table.outline, site, f"{where}.outline"),
    )


def _refuse_former(stations: Sequence[Table], name: str) -> None:
    """Refuse a former id that a station has, or that two had: whose history is it?"""
    ids, owner = {s.id for s in stations}, dict[str, str]()
    for index, station in enumerate(stations):
        for old in station.was:
            where = f"{name}: station[{index}].was: {old!r}"
            if old == station.id:
                raise ConfigError(f"{where} is its own id; expected ids that it had before")
            if old in ids:
                raise ConfigError(f"{where} is a station of this file; expected ids that no station has any more")
            if old in owner:
                raise ConfigError(f"{where} appears twice ({owner[old]}, {station.id}); expected one station for it")
            owner[old] = station.id


def _refuse_unmapped(table: Table, where: str) -> None:
    """Refuse a zone that no map of velocities could fill, or that is an instrument as well.

    All that maps say of zones is one witness: an instrument among them would be one with all of them. What no
    map can fill elsewhere is a word of `slopeward check`, and the slope stays watched.
    """
    mapped = [one.quantity for one in table.series if one.source == domain.VELOCITY_MAP]
    is_zone = table.outline is not None or any(one.quantity in OF_ZONES for one in table.series)
    for index, one in enumerate(table.series):
        key = f"{where}.series[{index}]"
        if is_zone and one.source == domain.VELOCITY_MAP and one.quantity not in VELOCITY_MAP_QUANTITIES:
            raise ConfigError(
                f"{key}.source: a velocity map gives {', '.join(VELOCITY_MAP_QUANTITIES)}, not {one.quantity}"
            )
        if one.over_mm_per_day and one.quantity != "moving_share":
            raise ConfigError(f"{key}.over_mm_per_day: only moving_share counts what is faster")
    if is_zone and mapped and table.outline is None and (table.latitude is None or table.longitude is None):
        raise ConfigError(f"{where}: a velocity map is read where? expected outline, or latitude and longitude")
    if OF_ZONES & set(mapped) and (
        others := [one.quantity for one in table.series if one.source != domain.VELOCITY_MAP]
    ):
        raise ConfigError(
            f"{where}: expected a station of its own for {others[0]}: this one is a zone of velocity maps"
        )


def _read_origin(table: OriginTable | None) -> domain.Origin | None:
    if table is None:
        return None
    since = table.since.astimezone(UTC)
    if table.latitude is not None and table.longitude is not None and table.height_m is not None:
        return domain.Origin(since, place=(table.latitude, table.longitude, table.height_m), height=table.height)
    return domain.Origin(since, baseline_m=(table.east_m or 0.0, table.north_m or 0.0, table.up_m or 0.0))


def _read_binding(table: Table) -> domain.Binding:
    settings = table.model_dump(exclude={"pattern", "name", "station", "series"}, exclude_defaults=True)
    return make_record(domain.Binding, table, series=tuple(table.series.items()), settings=tuple(settings.items()))


def _read_series(station: str, table: Table, own: Mapping[str, QuantityTable], where: str) -> domain.SeriesSpec:
    known = QUANTITIES.get(table.quantity) or own.get(table.quantity)
    if known is None:
        names = describe_unknown(table.quantity, [*QUANTITIES, *own]).replace("unknown key", "unknown quantity", 1)
        raise ConfigError(f"{where}.quantity: {names}, or one declared by [[quantity]]")
    canonical = "index" if table.unit == "index" else known.unit
    if table.unit not in UNITS and table.unit != canonical:
        raise ConfigError(f"{where}.unit: {describe_unknown(table.unit, UNITS).replace('key', 'unit', 1)}")
    to_canonical = partial(_convert_key, where=where, unit=table.unit, canonical=canonical)
    to_canonical(1.0, "unit")
    for key in ("noise_floor", "verify_step"):
        if getattr(table, key) is not None and getattr(table, f"{key}_mm") is not None:
            raise ConfigError(f"{where}.{key}: expected only one of {key}, {key}_mm")
    noise = to_canonical(table.noise_floor, "noise_floor", span=True)
    noise = to_canonical(table.noise_floor_mm, "noise_floor_mm", unit="mm", span=True) if noise is None else noise
    _refuse_noise(noise, "noise_floor" if table.noise_floor_mm is None else "noise_floor_mm", known, canonical, where)
    step = to_canonical(table.verify_step, "verify_step", span=True)
    step = to_canonical(table.verify_step_mm, "verify_step_mm", unit="mm", span=True) if step is None else step
    ends = {}
    for end in ("low", "high"):
        value = to_canonical(getattr(table, end), end)
        ends[end] = getattr(own.get(table.quantity), end, None) if value is None else value
    if table.stamp == "counter" and ends["high"] is None:
        ends["high"] = LARGEST_COUNT  # the range of the quantity is that of one interval
    _check_series(table, ends, where)
    return make_record(
        domain.SeriesSpec,
        table,
        **ends,
        station=station,
        unit=canonical,
        noise_floor=noise or 0.0,
        verify_step=step,
        empty=to_canonical(table.empty, "empty"),
        physical=tuple(sorted(set(table.physical))),
        max_silence_s=table.max_silence_s or GONE * table.interval_s,
        learns_silence=table.max_silence_s is None,
        may_fall=to_canonical(table.may_fall, "may_fall", span=True),
        may_rise=to_canonical(table.may_rise, "may_rise", span=True),
        written_unit="" if table.unit == canonical else table.unit,
    )


def _convert_key(
    value: float | None, key: str, *, where: str, unit: str, canonical: str, span: bool = False
) -> float | None:
    """The value of a key in the canonical unit; a span (noise, step) knows no zero point."""
    if value is None:
        return None
    try:
        return (convert_difference if span else convert)(value, unit, canonical)
    except ValueError as error:
        raise ConfigError(f"{where}.{key}: {error}") from None


def _check_series(table: Table, ends: Mapping[str, float | None], where: str) -> None:
    if table.empty is not None and table.quantity not in {BATTERY_VOLTAGE, BATTERY_LEVEL}:
        raise ConfigError(f"{where}.empty: only {BATTERY_VOLTAGE} and {BATTERY_LEVEL} say when a battery is empty")
    low, high = ends["low"], ends["high"]
    if low is not None and high is not None and low >= high:
        raise ConfigError(f"{where}.low: expected less than high = {high:g}, got {low:g}")
    for end in table.physical:
        if ends[end] is None:
            raise ConfigError(f"{where}.physical: expected a number at {end}, for it is said to be physical")
    if table.max_silence_s is not None and table.max_silence_s < table.interval_s:
        raise ConfigError(f"{where}.max_silence: expected at least interval = {format_duration(table.interval_s)}")


def _refuse_noise(noise: float | None, key: str, known: Quantity | QuantityTable, unit: str, where: str) -> None:
    """Refuse a noise that no instrument has: beyond 10 m, of others a tenth of the range of the quantity."""
    low, high = known.low, known.high
    most = NOISIEST_MM if unit == "mm" else (high - low) / 10.0 if low is not None and high is not None else math.inf
    if noise is not None and unit == known.unit and noise > most:
        raise ConfigError(f"{where}.{key}: expected at most {most:g} {unit}, the scatter at rest, got {noise:g} {unit}")


def _read_people(
    file: Table, levels: Sequence[domain.Level], name: str, faults: Faults
) -> tuple[tuple[domain.Recipient, ...], tuple[domain.Team, ...]]:
    in_teams = [member for team in file.team for member in team.members]
    read: dict[int, domain.Recipient] = {}
    for index, table in enumerate(file.recipient):
        with faults.gathered():
            by_team = table.levels is None and any(is_same_person(table.name, member) for member in in_teams)
            read[index] = _read_recipient(
                table, levels, f"{name}: recipient[{index}]", file.site.timezone, by_team=by_team
            )
    if len(read) < len(file.recipient):
        return tuple(read.values()), ()  # what refers to recipients would be refused for nothing
    with faults.gathered():
        _refuse_doubles((fold_name(t.name) for t in file.team), f"{name}: team: name")
    teams = faults.read_each(
        lambda table, where: _read_team(table, file, tuple(read.values()), where), file.team, f"{name}: team"
    )
    for index, table in enumerate(file.recipient):
        if table.name.startswith(domain.TEAM) and len(teams) == len(file.team):
            with faults.gathered():
                meant = next((t for t in teams if f"{domain.TEAM}{t.name}" == table.name), None)
                if meant is None:
                    known = ", ".join(f"{domain.TEAM}{t.name}" for t in teams) or "no [[team]]"
                    raise ConfigError(f"{name}: recipient[{index}].name: {table.name!r} is no team; there is {known}")
                read[index] = replace(read[index], team=meant)
    return tuple(read.values()), teams


def _read_team(table: Table, file: Table, known: Sequence[domain.Recipient], where: str) -> domain.Team:
    found: list[domain.Recipient] = []
    for index, member in enumerate(table.members):
        one = next((r for r in known if is_same_person(r.name, member)), None)
        if one is None or one.name.startswith(domain.TEAM):
            people = ", ".join(r.name for r in known if not r.name.startswith(domain.TEAM)) or "none"
            raise ConfigError(
                f"{where}.members[{index}]: expected the name of a [[recipient]] ({people}), got {member!r}"
            )
        if one in found:
            raise ConfigError(f"{where}.members[{index}]: {member!r} stands there twice")
        found.append(one)
    lead = next((m.name for m in found if table.lead and is_same_person(m.name, table.lead)), "")
    if table.lead and not lead:
        raise ConfigError(f"{where}.lead: expected one of the members, got {table.lead!r}")
    return make_record(domain.Team, table, site=file.site.id, zone=file.site.timezone, members=tuple(found), lead=lead)


def _read_recipient(
    table: Table, levels: Sequence[domain.Level], where: str, zone: str, *, by_team: bool
) -> domain.Recipient:
    if is_team := table.name.startswith(domain.TEAM):
        if own := [key for key in OF_PEOPLE if getattr(table, key)]:
            raise ConfigError(f"{where}.{own[0]}: a team has none of its own; its members have")
    elif not table.channels:
        raise ConfigError(f"{where}.channels: expected one at least")
    for index, channel in enumerate(table.channels):
        if split_channel(channel)[0] not in list_channel_kinds():
            kinds = ", ".join(list_channel_kinds())
            raise ConfigError(
                f"{where}.channels[{index}]: expected kind:address with a kind of {kinds}, got {channel!r}"
            )
        if fault := find_topic_fault(channel):
            raise ConfigError(f"{where}.channels[{index}]: {fault}")
    by_team = by_team and not is_team
    if not table.levels and any(find_channel_traits(channel).orders for channel in table.channels):
        raise ConfigError(f"{where}.levels: expected the levels at which the siren sounds; it has none by default")
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
class _Shape:
    name: str  # of the file
    where: str
    table: CriterionTable
    entry: KindEntry


def _read_shape(raw: Mapping[str, Any], index: int, levels: Sequence[domain.Level], name: str) -> _Shape:
    where, faults = f"criterion[{index}]", Faults()
    kind = raw.get("kind")
    known = load_criteria()
    if not isinstance(kind, str) or kind not in known:
        raise ConfigError(f"{name}: {where}.kind: {describe_unknown(str(kind), known).replace('key', 'kind', 1)}")
    entry = known[kind]
    names = [level.name for level in levels] if entry.bound else []
    own = {k: v for k, v in raw.items() if k in entry.table.written_keys()}
    for key in raw:
        if key not in own and key not in names:
            text = _describe_wrong_key(key, entry, [*entry.table.written_keys(), *names[1:]])
            faults.lines.append(f"{name}: {where}: {text}")
    table: CriterionTable | None = None
    with faults.gathered():
        table = _validate(entry.table, own, name, where)
    faults.raise_any()
    assert table is not None
    return _Shape(name, where, table, entry)


def _describe_wrong_key(key: str, entry: KindEntry, keys: Sequence[str]) -> str:
    if any(key in other.table.written_keys() for other in load_criteria().values()):
        return f"the kind {entry.kind.id!r} has no key {key!r}; expected one of: {', '.join(keys)}"
    return describe_unknown(key, keys)


def _find_validity_s(table: CriterionTable, places: Places, chosen: Sequence[str], quantity: str) -> float:
    """How long a vote lives where the file does not say: at least as long as the silence of its slowest instrument."""
    specs = [s.find_series(quantity) for s in places.stations if s.id in chosen and places.kind.source == "instruments"]
    return max([table.valid_for, *(spec.max_silence_s for spec in specs if spec is not None)])


def _read_criterion(shape: _Shape, places: Places, counts: dict[str, int]) -> domain.Criterion:
    """Read one criterion.

    Raises:
        ConfigError: it is wrong, or the code of a third-party plugin that reads it failed.
    """
    try:
        return _complete_criterion(shape, places, counts)
    except ConfigError:
        raise
    except Exception as error:
        if not shape.entry.plugin:
            raise
        text = f"{type(error).__name__}: {error}"
        raise ConfigError(f"{places.where}: the plugin {shape.entry.plugin} cannot read it: {text}") from error


def _complete_criterion(shape: _Shape, places: Places, counts: dict[str, int]) -> domain.Criterion:
    table, kind = shape.table, shape.entry.kind
    counts[kind.id] = counts.get(kind.id, 0) + 1
    chosen, quantity = table.find_target(places)
    dwell = getattr(table, "dwell", DwellTable())
    criterion = make_record(
        domain.Criterion,
        table,
        id=table.id or f"{kind.id}-{counts[kind.id]}",
        kind=kind,
        stations=chosen,
        quantity=quantity,
        thresholds=_read_thresholds(shape, places),
        valid_for_s=table.valid_for
        if "valid_for" in table.model_fields_set
        else _find_validity_s(table, places, chosen, quantity),
        dwell=domain.Dwell(dwell.hits, dwell.of, dwell.within),
        role=table.role or kind.role,
        valid_until=None if table.valid_until is None else table.valid_until.isoformat(),
    )
    criterion = table.complete(criterion, places)
    check_history(shape.entry, criterion)
    return criterion


def _imply_advice(
    criteria: Sequence[domain.Criterion], stations: Sequence[domain.Station]
) -> Iterable[domain.Criterion]:
    """Scores and footprints always raise advice, also where the site file says nothing of them."""
    declared = {c.kind for c in criteria}
    series = [(s.id, p) for s in stations for p in s.series if not p.corrected_as]
    moving = [(i, p) for i, p in series if p.quantity.startswith("displacement")]
    if not moving:
        return
    slowest_s = max(p.interval_s for _, p in moving)
    for entry in load_criteria().values():
        if entry.implied_s is not None and entry.kind not in declared:
            yield domain.Criterion(
                id=f"{entry.kind.id}-advice",
                kind=entry.kind,
                stations=tuple(dict.fromkeys(i for i, _ in moving)),
                quantity="",
                thresholds=(domain.Threshold(1),),
                valid_for_s=entry.implied_s(slowest_s),
                role="advice",
                author=domain.IMPLIED_BY,
                reason="advice is always raised",
            )


def _read_thresholds(shape: _Shape, places: Places) -> tuple[domain.Threshold, ...]:
    levels, bound = places.levels, shape.entry.bound
    if bound is None:
        number = find_level(str(getattr(shape.table, "level", "")), levels, f"{places.where}.level")
        if number == 0:
            raise ConfigError(f"{places.where}.level: expected a level above {levels[0].name!r}")
        return (domain.Threshold(number),)
    found = []
    for level in levels:
        if level.name not in places.raw:
            continue
        key = f"{places.where}.{level.name}"
        if level.number == 0:
            raise ConfigError(f"{key}: the lowest level needs no bound; expected one of the others")
        values = _validate(bound, places.raw[level.name], shape.name, f"{shape.where}.{level.name}")
        over, under = getattr(values, "over", None), getattr(values, "under", None)
        window = getattr(values, "window", None) or getattr(values, "within", None)
        threshold = domain.Threshold(level.number, over, under, window, getattr(values, "probability", None))
        shape.table.refuse_bound(threshold, places, key)
        found.append(threshold)
    if not found:
        names = ", ".join(level.name for level in levels[1:])
        raise ConfigError(f"{places.where}: expected a bound for at least one level of: {names}")
    shape.table.refuse_order(found, places)
    return tuple(found)
