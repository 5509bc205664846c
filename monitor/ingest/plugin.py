"""Decoders of MQTT messages, readers of grids, and the act that chooses the reference of a station.

Readers of grids are registered by a hook and not named in the table of readers, because `monitor.ingest.grids` uses
`monitor.ingest.files`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from monitor.hookspecs import hookimpl

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from contextlib import AbstractContextManager
    from datetime import datetime
    from pathlib import Path

    from sqlalchemy import Table

    from monitor.alerts.acts.table import Act, ActResult
    from monitor.ingest.decoders.decoder import Decoder, DecoderSpec
    from monitor.ingest.files.reader import FileReader, ImportOptions
    from monitor.storage.public_view import PublicView
    from monitor.storage.retention import RetentionRule

_JSON_KEYS: Final = frozenset(
    {"series", "station", "each", "time", "time_unit", "device", "quantity", "unit", "value", "base"}
)
_SUFFIXES: Final = (".nc", ".nc4", ".cdf", ".tif", ".tiff", ".vrt")
_HDF5_SUFFIXES: Final = (".h5", ".he5", ".hdf5")


@hookimpl
def register_acts() -> Iterable[Act]:
    """Return the act that chooses the reference of a station."""
    from monitor.alerts.acts.table import make_act_factory

    station = make_act_factory("/sites/{site}/stations/{station}", "instruments", "/sites/{site}/instruments")
    return [station("reference.choose", "reference", "/reference", _load_choose)]


def _load_choose() -> Callable[..., ActResult]:
    from monitor.ingest.acts import choose

    return choose


@hookimpl
def register_decoders() -> Mapping[str, DecoderSpec]:
    """Return the decoders of topics of Slopeward and of instruments."""
    from monitor.ingest.decoders import (
        campbell,
        ecowitt,
        json_paths,
        lorawan,
        native,
        nmea,
        observer,
        plain,
        rows,
        rtklib,
        senml,
        sensorthings,
        sparkplug,
    )
    from monitor.ingest.decoders.decoder import DecoderSpec

    def without_settings(decode: Decoder) -> DecoderSpec:
        return DecoderSpec(lambda _binding: decode, takes_zone=True)

    lorawan_instrument = DecoderSpec(lorawan.open_lorawan, takes_zone=True)
    weather_station = DecoderSpec(ecowitt.open_ecowitt, frozenset({"rain"}), takes_zone=True)
    return {
        "native": without_settings(native.decode),
        "report": without_settings(observer.decode_report),
        "event": without_settings(observer.decode_event),
        "rows": without_settings(rows.decode),
        "milesight": lorawan_instrument,
        "decentlab-ctd10": lorawan_instrument,
        "decentlab-lid": lorawan_instrument,
        "decentlab-zn1": lorawan_instrument,
        "campbell": DecoderSpec(campbell.open_campbell, frozenset({"series", "station"}), takes_zone=True),
        "json": DecoderSpec(json_paths.open_json, _JSON_KEYS, takes_zone=True),
        "ecowitt": weather_station,
        "ecowitt-metric": weather_station,
        "nmea": DecoderSpec(nmea.open_nmea, frozenset({"station", "date", "network"}), takes_zone=True),
        "plain": DecoderSpec(plain.open_plain, frozenset({"series", "station"}), is_undated=plain.is_undated),
        "rtklib": DecoderSpec(
            rtklib.open_rtklib, frozenset({"station", "time", "positions", "network"}), takes_zone=True
        ),
        "sensorthings": DecoderSpec(sensorthings.open_sensorthings, frozenset({"series"}), takes_zone=True),
        "senml": DecoderSpec(senml.open_senml, frozenset({"date"})),
        "sparkplug": DecoderSpec(sparkplug.open_sparkplug, frozenset({"series", "station"})),
    }


@hookimpl
def register_file_readers() -> Mapping[str, FileReader]:
    """Return the readers of netCDF, GeoTIFF, MintPy and LiCSBAS files."""
    from monitor.ingest.files.reader import Content, FileReader

    return {
        "grid": FileReader(
            _open_grid,
            "a grid in netCDF, GeoTIFF or HDF5, such as radar rain, read at the stations of the site",
            suffixes=_SUFFIXES,
            needs=("--quantity",),
            takes=("--unit", "--variable", "--mask", "--window", "--stamp"),
            in_worker=True,
        ),
        "insar-grid": FileReader(
            _open_pixels,
            "displacement by satellite radar as a stack in netCDF or GeoTIFF, every pixel a point",
            Content.POINTS,
            suffixes=_SUFFIXES,
            needs=("--set", "--direction"),
            takes=("--unit", "--variable", "--mask", "--within"),
            in_worker=True,
        ),
        "mintpy": FileReader(
            _open_mintpy_points,
            "displacement of MintPy, a geocoded time series in HDF5 or HDF-EOS5, every pixel a point",
            Content.POINTS,
            suffixes=_HDF5_SUFFIXES,
            takes=("--set", "--direction", "--unit", "--mask", "--within"),
            in_worker=True,
        ),
        "licsbas": FileReader(
            _open_licsbas_points,
            "displacement of LiCSBAS, a geocoded time series (`cum.h5`, `cum_filt.h5`), every pixel a point",
            Content.POINTS,
            suffixes=_HDF5_SUFFIXES,
            needs=("--set",),
            takes=("--direction", "--unit", "--mask", "--within"),
            in_worker=True,
        ),
    }


# The libraries of grids take long to import, and only workers read them.
def _open_grid(path: Path, options: ImportOptions) -> AbstractContextManager[Any]:
    from monitor.ingest.grids.read import open_grid

    return open_grid(path, options)


def _open_pixels(path: Path, options: ImportOptions, now: datetime) -> AbstractContextManager[Any]:
    from monitor.ingest.grids.read import open_pixels

    return open_pixels(path, options, now)


def _open_mintpy_points(path: Path, options: ImportOptions, now: datetime) -> AbstractContextManager[Any]:
    from monitor.ingest.grids.read import open_mintpy_points

    return open_mintpy_points(path, options, now)


def _open_licsbas_points(path: Path, options: ImportOptions, now: datetime) -> AbstractContextManager[Any]:
    from monitor.ingest.grids.read import open_licsbas_points

    return open_licsbas_points(path, options, now)


@hookimpl
def register_tables() -> Iterable[Table]:
    """Return the tables of messages and outages."""
    from monitor.ingest import tables

    return [
        tables.rejected_message,
        tables.quarantine_source,
        tables.sequence_state,
        tables.sequence_gap,
        tables.outage_station,
        tables.calculation_pending,
        tables.profile_pending,
    ]


@hookimpl
def register_views(sqlite: bool) -> Iterable[PublicView]:
    """Return the views of messages and outages."""
    from monitor.ingest import views
    from monitor.storage.public_view import pair_views

    return pair_views(sqlite, views.select_views)


@hookimpl
def retention_rules() -> Iterable[RetentionRule]:
    """Return the rule for messages that could not be read."""
    from monitor.ingest.queries.messages import RETENTION_RULES

    return RETENTION_RULES
