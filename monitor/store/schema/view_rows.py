"""Rows of public views as the code reads them: instants and JSON as text, what has an id and values as a message."""

from typing import NotRequired, TypedDict

from detection.geojson import Geometry


class SiteStatusRow(TypedDict):
    """Of `site_status`."""

    site: str
    level: int | None  # and what follows of it: None where it was never evaluated
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


class StationHealthRow(TypedDict):
    """Of `station_health`."""

    site: str
    station: str
    state: str | None
    since: str | None
    reason: str | None
    newest_at: str | None


class ReadingRow(TypedDict):
    """Of `latest_observation` and `observation_history`."""

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
    """Of `active_alerts` and `alert_history`; the pages read it without its evidence."""

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
    """Of `notification_status` and `deliveries`, what both of them have."""

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
    """Of `deliveries`."""

    kind: str
    received_at: str | None
    why: str | None


class AlertEventRow(TypedDict):
    """Of `alert_events`."""

    alert_id: int
    at: str
    from_state: str | None
    to_state: str
    from_level: int | None
    to_level: int
    actor: str
    reason: str


class PhotoRow(TypedDict):
    """Of `photos`."""

    photo_id: int
    site: str
    alert_id: int | None
    added_at: str
    by: str
    note: str


class InstrumentRow(TypedDict):
    """Of `instrument_health`."""

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
    """Of `instrument_findings`."""

    site: str
    instrument: str
    state: str
    since: str
    reason: str
    action: str


class AvailabilityRow(TypedDict):
    """Of `instrument_availability`."""

    site: str
    instrument: str
    month: str
    expected: int
    availability: float


class IssuedForecastRow(TypedDict):
    """Of `latest_forecast`."""

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
    """What a model found on a scene."""

    model_hash: str
    method: str
    unproven: NotRequired[bool]  # no test speaks for its network


class ScenePolygonRow(MarkedFootprint):
    """Of `scene_polygons`, its outline read."""

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
    """Of `why_not_shown`: a series and model without a shown forecast."""

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
    """Of `model_gates`: how a forecaster stands at a horizon."""

    model: str
    model_hash: str
    model_state: str
    horizon_s: float
    state: str


class PointIssueRow(TypedDict):
    """Of `point_forecast_issues`: an issue at a horizon; of one that failed there is none."""

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
    """Of `point_forecasts`: a point at a horizon; without quantiles where its forecast is withheld."""

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
