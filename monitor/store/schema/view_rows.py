"""Row types of `load_view`: the columns of public views that the code reads.

Instants and JSON are text. The columns `NAME`, `NAME_id` and `NAME_values` of a message are one entry `NAME`. Tests
compare names and types with the columns in `view_tables`.
"""

from typing import NotRequired, TypedDict

from detection.geojson import Geometry


class SiteStatusRow(TypedDict):
    """A row of `site_status`."""

    site: str
    # None for a site that was never evaluated, as are the columns that result from an evaluation.
    level: int | None
    level_name: str | None
    level_source: str | None
    since: str | None
    evaluated_at: str | None
    observability: str | None
    reachable_level: int | None
    health: str | None
    movement_stage: str | None
    trend: str | None
    newest_at: str | None
    catching_up: bool | None
    active_alerts: int
    unacknowledged: int
    config_version: str
    relative_to: str | None


class StationHealthRow(TypedDict):
    """A row of `station_health`."""

    site: str
    station: str
    state: str | None
    since: str | None
    reason: str | None
    newest_at: str | None


class ReadingRow(TypedDict):
    """A row of `latest_observation` or `observation_history`."""

    site: str
    station: str
    quantity: str
    unit: str
    observed_at: str
    received_at: str
    value: float
    value_raw: float
    offset_applied: float
    sigma: float | None
    flags: str
    revision: int
    solution: str


class AlertRow(TypedDict):
    """A row of `active_alerts` or `alert_history`. Pages load it without the column `evidence`."""

    alert_id: int
    site: str
    ledger: str
    key: str
    level: int
    peak_level: int
    level_name: str
    state: str
    exercise: bool
    raised_at: str
    data_time: str | None
    reason: str
    evidence: str | None
    evidence_sha256: str
    config_version: str
    acknowledged_at: str | None
    closed_at: str | None


class MessageRow(TypedDict):
    """Columns that `notification_status` and `deliveries` have in common."""

    notification_id: int
    alert_id: int
    site: str
    recipient: str
    channel: str
    state: str
    queued_at: str
    sent_at: str | None
    confirmed_at: str | None
    confirmed_by: str | None


class DeliveryRow(MessageRow):
    """A row of `deliveries`."""

    kind: str
    received_at: str | None
    why: str | None


class AlertEventRow(TypedDict):
    """A row of `alert_events`."""

    alert_id: int
    at: str
    from_state: str | None
    to_state: str
    from_level: int | None
    to_level: int
    actor: str
    reason: str


class PhotoRow(TypedDict):
    """A row of `photos`."""

    photo_id: int
    site: str
    alert_id: int | None
    added_at: str
    by: str
    note: str


class InstrumentRow(TypedDict):
    """A row of `instrument_health`."""

    site: str
    instrument: str
    state: str
    since: str | None
    reason: str
    action: str
    votes: bool
    parent_alert_id: int | None
    base: str | None
    logger: str | None
    gateway: str | None
    power: str | None
    newest_at: str | None
    battery_v: float | None
    battery_percent: float | None
    battery_empty_at: str | None
    battery_method: str
    calibrated_on: str | None
    calibration_age_days: int | None
    calibration_due_on: str | None
    spark_of: str | None
    spark: str | None
    judged_at: str | None


class FindingRow(TypedDict):
    """A row of `instrument_findings`."""

    site: str
    instrument: str
    state: str
    since: str
    reason: str
    action: str


class AvailabilityRow(TypedDict):
    """A row of `instrument_availability`."""

    site: str
    instrument: str
    month: str
    expected: int
    availability: float


class IssuedForecastRow(TypedDict):
    """A row of `latest_forecast`."""

    station: str
    quantity: str
    unit: str
    issued_at: str
    data_until: str
    target_at: str
    horizon_s: float
    q025: float | None
    q10: float | None
    q50: float | None
    q90: float | None
    q975: float | None
    model: str
    model_hash: str | None
    baseline: str | None
    baseline_q50: float | None
    replaces: str | None
    data_value: float
    shown: bool
    reason: str


class MarkedFootprint(TypedDict):
    """A footprint with the model that detected it."""

    model_hash: str
    method: str
    # Set by the caller: the model has no passed test for this site.
    unproven: NotRequired[bool]


class ScenePolygonRow(MarkedFootprint):
    """A row of `scene_polygons`. The caller deserialises `geometry`."""

    polygon_id: str
    change: str
    area_m2: float
    mean_probability: float
    geometry: Geometry
    min_lon: float
    min_lat: float
    max_lon: float
    max_lat: float
    nearest_station: str | None
    distance_m: float | None


class WhyNotShownRow(TypedDict):
    """A row of `why_not_shown`: a series and a model without a shown forecast."""

    site: str
    station: str
    quantity: str
    model: str
    horizon_s: float
    issued_at: str
    reason: str
    lacking: str
    earliest_at: str | None


class ModelGateRow(TypedDict):
    """A row of `model_gates`: the release state of a model at one horizon."""

    model: str
    model_hash: str
    model_state: str
    horizon_s: float
    state: str


class PointIssueRow(TypedDict):
    """A row of `point_forecast_issues`: an issue at one horizon. An issue that failed has no horizon."""

    point_set: str
    issue_id: int
    known_at: str
    points: int
    withheld: int
    horizon: int | None
    target_at: str
    model: str
    held_out_inside_80: float
    held_out_error_mm: float
    held_out_persistence_mm: float
    held_out_trend_mm: float
    reason: str


class PointForecastRow(TypedDict):
    """A row of `point_forecasts`: a point at one horizon. A withheld forecast has no quantiles."""

    pid: str
    latitude: float
    longitude: float
    horizon: int
    target_at: str
    value_mm: float
    q10: float | None
    q50: float | None
    q90: float | None
    reason: str
