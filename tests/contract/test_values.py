"""Every decoder reads payloads with missing, invalid and unusual values. A bad value affects no other value."""

import json
import math
import time
from datetime import UTC, datetime, timedelta

import pytest

from monitor.ingest.decoders.table import list_decoders
from monitor.ingest.files.temporary import open_empty_database
from monitor.ingest.message import BrokerMessage
from monitor.ingest.pipeline import Pipeline
from monitor.readings.no_value import FILL
from tests.data.payloads import traps as t
from tests.tables import tabulated

NOW = datetime(2026, 3, 1, 6, 5, tzinfo=UTC)
VALID_TIME = datetime(2026, 3, 1, 6, tzinfo=UTC)
ALL = tabulated("name", [*list_decoders()])


def for_decoders_with(trap):
    return tabulated("name", [n for n in list_decoders() if trap not in t.PAYLOADS[n].inapplicable])


@pytest.fixture
def pipeline():
    site = t.make_site()
    usable_pipeline = Pipeline(None, {site.id: site}, lambda: NOW)
    assert usable_pipeline.unusable == {}
    return usable_pipeline


def read(pipeline, name, token="4.5", sigma="0.5", time=t.TIME, payload=None):
    raw = t.PAYLOADS[name].encode(token, sigma, time) if payload is None else payload
    return pipeline.decode(BrokerMessage(t.topic_of(name), raw, NOW, "live", connection_number=1))


def index_by_series(decoded):
    return {f"{o.station}.{o.quantity}": o for o in decoded.observations}


def valid_token(name):
    return t.PAYLOADS[name].valid_token


@ALL
def test_every_decoder_has_traps_or_a_reason_against_them(name):
    assert name in t.PAYLOADS, f"{name}: no traps in tests/data/payloads/traps.py"
    assert set(t.PAYLOADS[name].inapplicable) <= set(t.TRAPS)
    assert all(len(why) > 10 for why in t.PAYLOADS[name].inapplicable.values())


@ALL
def test_valid_payload_is_read_completely(name, pipeline):
    payload = t.PAYLOADS[name]
    decoded = read(pipeline, name, valid_token(name))
    assert decoded.faults == ()
    assert payload.valid_series | ({payload.trapped_series} - {""}) <= set(index_by_series(decoded))
    assert decoded.observations or decoded.report or decoded.event


@for_decoders_with(t.VALUE)
@tabulated("token", t.INVALID_VALUES)
def test_invalid_value_does_not_affect_other_values(name, token, pipeline):
    payload = t.PAYLOADS[name]
    decoded = read(pipeline, name, token)
    assert payload.valid_series <= set(index_by_series(decoded)), decoded.faults
    assert payload.trapped_series not in index_by_series(decoded) or not payload.trapped_series
    if payload.valid_series or decoded.event:
        assert decoded.faults == ()
    else:
        assert [fault.code for fault in decoded.faults] == ["empty"]


@for_decoders_with(t.SIGMA)
@tabulated("token", t.INVALID_SIGMAS)
def test_value_with_an_invalid_sigma_is_stored_without_it(name, token, pipeline):
    payload = t.PAYLOADS[name]
    series = payload.trapped_series or "G1.displacement_north"
    assert index_by_series(read(pipeline, name))[series].sigma > 0.0  # a valid sigma is stored
    decoded = read(pipeline, name, sigma=token)
    assert decoded.faults == ()
    assert index_by_series(decoded)[series].sigma is None
    assert payload.valid_series <= set(index_by_series(decoded))


@for_decoders_with(t.SURROUNDED)
@tabulated("around", t.SURROUNDINGS)
def test_surrounding_nul_blanks_and_byte_order_mark_are_ignored(name, around, pipeline):
    plain = read(pipeline, name, valid_token(name))
    raw = around % t.PAYLOADS[name].encode(valid_token(name), "0.5", t.TIME)
    assert read(pipeline, name, payload=raw) == plain


@for_decoders_with(t.TIMES)
@tabulated(
    ("time", "at"),
    [
        ("2026-03-01t06:00:00z", VALID_TIME),
        ("2026-03-01T05:59:60Z", VALID_TIME),
        ("2026-03-01t07:00:00+01:00", VALID_TIME),
        ("2026-03-01T05:59:60.5Z", VALID_TIME + timedelta(seconds=0.5)),
        ("2026-03-01 24:00:00.000+18:00", VALID_TIME),
    ],
)
def test_times_in_lower_case_and_with_leap_seconds_are_read(name, time, at, pipeline):
    decoded = read(pipeline, name, valid_token(name), time=time)
    assert decoded.faults == ()
    assert {o.observed_at for o in decoded.observations} <= {at}
    assert [r.at for r in [decoded.report] if r] + [e.from_at for e in [decoded.event] if e] in ([], [at])


@tabulated("rolled", [1, 2])
@tabulated("lag", [timedelta(0), timedelta(minutes=-20), timedelta(hours=5)])
@for_decoders_with(t.ZONE)
def test_gps_week_rollover_is_rejected_as_an_unset_clock(name, rolled, lag, pipeline):
    at = NOW - rolled * timedelta(weeks=1024) - lag
    faults = read(pipeline, name, valid_token(name), time=f"{at:%Y-%m-%dT%H:%M:%SZ}").faults
    assert [f.code for f in faults] == (
        [] if name == "rows" else ["clock_unset"]
    )  # rows come from files, which may be old
    earlier = at - timedelta(days=3)
    if earlier.year > 1986:  # an earlier time means a clock that was never set
        assert collect_instants(read(pipeline, name, valid_token(name), time=f"{earlier:%Y-%m-%dT%H:%M:%SZ}")) == {
            earlier.replace(microsecond=0)
        }


def replace_epoch_time(raw, at):
    """Return a payload with another instant if its time is in seconds since 1970; otherwise the same payload."""
    stamp = int(at.timestamp())
    raw = raw.replace(b"1772344800", str(stamp).encode())
    return raw.replace(b"\x08\x80\xf2\xcb\xc2\xca\x33", b"\x08" + _varint(stamp * 1000))


@tabulated("name", ["senml", "sparkplug"])
def test_unset_or_rolled_over_epoch_clock_is_rejected(name, pipeline):
    rolled = [NOW - weeks * timedelta(weeks=1024) for weeks in (1, 2)]
    for at in (datetime(1980, 1, 6, 0, 10, tzinfo=UTC), *rolled):
        payload = replace_epoch_time(t.PAYLOADS[name].encode(valid_token(name), "0.5", t.TIME), at)
        assert {f.code for f in read(pipeline, name, payload=payload).faults} == {"clock_unset"}
    payload = replace_epoch_time(t.PAYLOADS[name].encode(valid_token(name), "0.5", t.TIME), NOW - timedelta(days=400))
    assert read(pipeline, name, payload=payload).faults == ()


def collect_instants(decoded):
    instants = {o.observed_at for o in decoded.observations}
    instants |= {r.at for r in [decoded.report] if r} | {e.from_at for e in [decoded.event] if e}
    return instants


@for_decoders_with(t.ZONE)
def test_time_without_zone_is_in_the_zone_of_the_decoder(name, pipeline):
    naive, site = "2026-03-01T07:00:00", t.make_site("Europe/Zurich")
    zoned = Pipeline(None, {site.id: site}, lambda: NOW)
    assert zoned.unusable == {}
    raw = t.PAYLOADS[name].encode(valid_token(name), "0.5", naive)
    assert collect_instants(zoned.decode(BrokerMessage(t.topic_in_zone(name), raw, NOW, "live"))) == {VALID_TIME}
    if not name.startswith(("ecowitt", "nmea")):  # these formats are in UTC
        assert [f.code for f in read(pipeline, name, valid_token(name), time=naive).faults] == ["no_zone"]


@tabulated(("minutes", "at"), [(5, "00:30"), (65, "01:30"), (2000, None)])
def test_ambiguous_hour_is_resolved_by_the_time_of_reception(minutes, at):
    site = t.make_site("Europe/Zurich")
    received = datetime(2025, 10, 26, 0, 30, tzinfo=UTC) + timedelta(minutes=minutes)
    pipeline = Pipeline(None, {site.id: site}, lambda: received)
    raw = t.PAYLOADS["json"].encode("4.5", "0.5", "2025-10-26T02:30:00")
    decoded = pipeline.decode(BrokerMessage(t.topic_of("json"), raw, received, "live"))
    if at is None:
        assert [f.code for f in decoded.faults] == ["ambiguous_time"]
    else:
        assert {f"{o.observed_at:%H:%M}" for o in decoded.observations} == {at}
    raw = t.PAYLOADS["json"].encode("4.5", "0.5", "2026-03-29T02:30:00")  # this local time does not exist
    assert pipeline.decode(BrokerMessage(t.topic_of("json"), raw, received, "live")).faults[0].code == "ambiguous_time"


@for_decoders_with(t.FILL_VALUE)
def test_fill_value_is_flagged_by_every_decoder_and_other_values_are_not(name):
    site, payload, now = t.make_site(), t.PAYLOADS[name], [VALID_TIME]
    with open_empty_database(site) as db:
        pipeline = Pipeline(db, {site.id: site}, lambda: now[0])
        for k, token in enumerate([*[valid_token(name)] * 6, "7999", valid_token(name)]):
            now[0] = VALID_TIME + timedelta(hours=k)
            raw = replace_epoch_time(payload.encode(token, "0.5", f"{now[0]:%Y-%m-%dT%H:%M:%SZ}"), now[0])
            outcome = pipeline.store([BrokerMessage(t.topic_of(name), raw, now[0], "live", connection_number=1)])
            assert outcome.rejected == 0
        with db.read() as c:
            rows = c.exec_driver_sql(
                "SELECT s.station || '.' || s.quantity, o.value_raw, o.flags FROM observation o "
                "JOIN series s ON s.id = o.series_id ORDER BY o.observed_at"
            ).all()
    flagged = [(key, FILL in flags) for key, _, flags in rows]
    assert [is_fill for key, is_fill in flagged if key == payload.trapped_series] == [False] * 6 + [True, False]
    assert not any(is_fill for key, is_fill in flagged if key != payload.trapped_series)


def _varint(number):
    octets = bytearray()
    while number > 0x7F:
        octets.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*octets, number])


@tabulated("blank", ["", " ", "\t\n"])
def test_empty_json_value_is_missing_and_texts_are_kept(blank, pipeline):
    raw = f'{{"t":"{t.TIME}","b":{blank},"a":20.5,"note":"b: nan, undefined,"}}'.encode()
    observations = index_by_series(read(pipeline, "json", payload=raw))
    assert observations.keys() == {"G1.temperature"}
    meta = f'{{"time":"{t.TIME}","tilt_x_mrad":1,"temperature_degc":{blank},"meta":{{"text":": nan, undefined,"}}}}'
    observations = index_by_series(read(pipeline, "native", payload=meta.encode()))
    assert json.loads(observations["G1.tilt_x"].extra) == {"meta": {"text": ": nan, undefined,"}}


@tabulated(
    "payload",
    [
        b'{"a":nan,"b":"' + b'\\"' * 300_000,
        b'{"a":a' + b" " * 900_000 + b'"',
        b"[" + b"nan," * 200_000 + b"1",
        b'"\\\n' * 200_000,
        b":" * 900_000,
    ],
)
def test_hostile_bare_words_are_rejected_quickly(payload, pipeline):
    started_s = time.process_time()
    assert read(pipeline, "json", payload=payload).faults[0].code in {"not_json", "too_large"}
    assert time.process_time() - started_s < 5.0


def test_unusual_but_valid_numbers_are_stored(pipeline):
    """Valid but unusual numbers are stored, so that the tests above do not pass by dropping every value."""
    assert index_by_series(read(pipeline, "json", "-0.0"))["G1.tilt_x"].value == 0.0
    assert read(pipeline, "json", '"off"').faults[0].code == "not_number"
    assert "G1.temperature" in index_by_series(read(pipeline, "json", '"off"'))
    assert read(pipeline, "native", payload=b'{"time": nanny}').faults[0].code == "not_json"
    meta = b'{"time":"2026-03-01T06:00:00Z","tilt_x_mrad":1,"meta":{"rssi":NaN,"text":"nan"}}'
    assert json.loads(read(pipeline, "native", payload=meta).observations[0].extra) == {
        "meta": {"rssi": None, "text": "nan"}
    }
    assert math.isfinite(index_by_series(read(pipeline, "json", "1e12"))["G1.tilt_x"].value)
