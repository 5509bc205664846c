"""Payloads from manuals of manufacturers and from standards, with a site file that decodes them.

A comment names the source of each payload.
"""

import base64
import json
from datetime import UTC, datetime
from typing import NamedTuple

from monitor.ingest.decoders.table import list_decoders
from monitor.ingest.message import BrokerMessage
from monitor.sites.parsing import parse_site

NOW = datetime(2026, 3, 1, 7, tzinfo=UTC)


class Published(NamedTuple):
    decoder: str
    topic: str
    payload: bytes


def _json(value):
    return json.dumps(value).encode()


# CRBasic help of Campbell Scientific, "GeoJSON format details" (help.campbellsci.com/crbasic/cr6,
# mqtt_geojson_format.htm), in the spelling of 2019, and a message of a CR6 as it stands in the parsers of the
# time.IO platform of the Helmholtz Centre for Environmental Research
CAMPBELL_HELP = b"""{
    "type": "Feature",
    "geometry": {
     "type": "Point",
     "coordinates": [ "12345.000000", "23456.000000", "345.000000" ]
    },
    "Properties": {
     "loggerID": "CR1000X_400",
     "observationNames": ["batteryVolt", "batteryVolt_Avg", "crTemp"],
     "observations": {
         "2019-02-28T19:00:00.0Z": [13.67, 13.67, 24.31]
     }
   }
}"""
CAMPBELL_CR6 = b"""{
    "type": "Feature",
    "geometry": {"type": "Point", "coordinates": [null, null, null]},
    "properties": {
        "loggerID": "CR6_18341",
        "observationNames": ["Batt_volt_Min", "PTemp"],
        "observations": {"2022-05-24T08:53:00Z": [11.9, 26.91]}
    }
}"""

# OGC 18-088, SensorThings API 1.1, 8.2.8: an Observation; and an Environment Canada station as the server of Arctic
# Connect answered, whose result is a text
OBSERVATION = {
    "@iot.id": 1,
    "@iot.selfLink": "http://example.org/v1.1/Observations(1)",
    "FeatureOfInterest@iot.navigationLink": "Observations(1)/FeatureOfInterest",
    "Datastream@iot.navigationLink": "Observations(1)/Datastream",
    "phenomenonTime": "2014-12-31T11:59:59.00+08:00",
    "resultTime": "2014-12-31T11:59:59.00+08:00",
    "result": 70.4,
}
OBSERVATIONS = {
    "@iot.nextLink": "https://sensors.arcticconnect.org:6443/v1.0/Datastreams(423)/Observations?$top=1&$skip=1",
    "value": [
        {
            "@iot.id": 102669,
            "@iot.selfLink": "https://sensors.arcticconnect.org:6443/v1.0/Observations(102669)",
            "phenomenonTime": "2018-05-28T21:00:00.000Z",
            "result": "-3.4",
            "Datastream@iot.navigationLink": "https://sensors.arcticconnect.org:6443/v1.0/Observations(102669)/Datastream",
            "FeatureOfInterest@iot.navigationLink": "https://sensors.arcticconnect.org:6443/v1.0/Observations(102669)/FeatureOfInterest",
            "resultTime": "2018-05-28T21:04:24.877Z",
        }
    ],
}

# birth and data as a simulated CNC machine sent them: test of the flow sparkplug-telemetry of thin-edge.io
NBIRTH = base64.b64decode(
    "CIC4g6H3MhIUCgViZFNlcRAAGIC4g6H3MiAIWAASJwoRc3BpbmRsZS5zcGVlZC5ycG0QARiAuIOh9zIgCmkAAAAAAAAAABImChBzcGluZGxlLmxvYWQu"
    "cGN0EAIYgLiDofcyIAppAAAAAAAAAAASMQobc3BpbmRsZS50ZW1wZXJhdHVyZS5jZWxzaXVzEAMYgLiDofcyIAppVSDNE0ujNUASKgoUZmVlZC5yYXRl"
    "Lm1tX3Blcl9taW4QBBiAuIOh9zIgCmkAAAAAAAAAABIoChJheGlzLngucG9zaXRpb24ubW0QBRiAuIOh9zIgCmkAAAAAAAAAABIoChJheGlzLnkucG9z"
    "aXRpb24ubW0QBhiAuIOh9zIgCmkAAAAAAAAAABIoChJheGlzLnoucG9zaXRpb24ubW0QBxiAuIOh9zIgCmkAAAAAAAAAABIxChtjb29sYW50LnRlbXBl"
    "cmF0dXJlLmNlbHNpdXMQCBiAuIOh9zIgCmlQX1FxGvg0QBIxChtjb29sYW50LmZsb3cubGl0cmVzX3Blcl9taW4QCRiAuIOh9zIgCmkAAAAAAAAAABIs"
    "ChZoeWRyYXVsaWMucHJlc3N1cmUuYmFyEAoYgLiDofcyIApp47HFsheKYUASHgoIcG93ZXIua3cQCxiAuIOh9zIgCmmamZmZmZnZPxIiChNwcm9ncmFt"
    "LmN5Y2xlX2NvdW50EAwYgLiDofcyIARYABIhChJwcm9ncmFtLnBhcnRfY291bnQQDRiAuIOh9zIgBFgAEhgKCWRvb3Iub3BlbhAOGIC4g6H3MiALcAAS"
    "GwoMZXN0b3AuYWN0aXZlEA8YgLiDofcyIAtwABIrChxBbGFybS9IaWdoU3BpbmRsZVRlbXAvQWN0aXZlEBAYgLiDofcyIAtwABIpChpBbGFybS9IaWdo"
    "U3BpbmRsZVRlbXAvVGV4dBARGIC4g6H3MiAMegASKgobQWxhcm0vTG93Q29vbGFudEZsb3cvQWN0aXZlEBIYgLiDofcyIAtwABIoChlBbGFybS9Mb3dD"
    "b29sYW50Rmxvdy9UZXh0EBMYgLiDofcyIAx6ABIxCiJBbGFybS9IaWdoSHlkcmF1bGljUHJlc3N1cmUvQWN0aXZlEBQYgLiDofcyIAtwABIvCiBBbGFy"
    "bS9IaWdoSHlkcmF1bGljUHJlc3N1cmUvVGV4dBAVGIC4g6H3MiAMegASIQoSQWxhcm0vRVN0b3AvQWN0aXZlEBYYgLiDofcyIAtwABIfChBBbGFybS9F"
    "U3RvcC9UZXh0EBcYgLiDofcyIAx6ABgA"
)
NDATA = base64.b64decode(
    "CPnwrvXLMxINEAEgCmkQsYiN6liwQBINEAIgCmkJQ7YLG21DQBINEAMgCmk9lEQt6Yc+QBINEAQgCmkAAAAAAAAAABINEAUgCmlfA492P4t6QBINEAYg"
    "CmmAFnYh9JxRQBINEAcgCml3Pe2ZRqJKQBINEAggCmk8fZaoQUM2QBINEAkgCmmY2kjKNpISQBINEAogCmlLIfVW+eJiQBINEAsgCmmeEB51fpQDQBIG"
    "EAwgBFgBEgYQDSAEWAESBhAOIAtwARIGEA8gC3AAEgYQECALcAASBhARIAx6ABIGEBIgC3AAEgYQEyAMegASBhAUIAtwABIGEBUgDHoAEgYQFiALcAAS"
    "BhAXIAx6ABgO"
)
# a death, bdSeq 3, and data by alias alone: vectors that were read back by the protobuf of Eclipse Tahu (selftest.py of
# a Sparkplug B publisher); and the command for a rebirth as another one checks it
NDEATH = bytes.fromhex("0880b2c7cc8b33120b0a05626453657120045803")
DDATA = bytes.fromhex("0880b2c7cc8b33121310011880b2c7cc8b33200c7a066c6f636b65641807")
REBIRTH = bytes.fromhex("0880d8c1a28c34121a0a144e6f646520436f6e74726f6c2f52656269727468200b7001")

# a water sensor of Sensemakers Amsterdam by The Things Network 2 (raw_observation.md of arbakker/sta-obs-loader)
WATER_NOW = """{"imei": 357518080166580, "timestamp": 1572364002, "batteryVoltage": 4.15, "boardTemperature": 18,
"waterEC": 927, "waterTemperature": 13.86, "Lat": 52.3602022, "Lon": 4.8153333, "altitude": 36, "speed": 0, "course": 1,
"SatInFix": 5, "FixAge": 37, "TimeActive": 82847, "lastResetCause": 32}"""
WATER = {
    "app_id": "mijnomgeving",
    "dev_id": "357518080166580",
    "payload_fields": json.loads(WATER_NOW),
    "tag_fields": {"name": "EC 224"},
}

# RTKLIB manual 2.4.2, appendix B.1
RTKLIB_HEAD = """% program : RTKLIB ver.2.3.0b
% obs start : 2009/07/15 07:10:00.0 GPST (week1540 285000.0s)
% ref pos : 32.574831620 -117.126551777 -28.1471
%
% (lat/lon/height=WGS84/ellipsoidal,Q=1:fix,2:float,4:dgps,5:single,ns=# of satellites)
% GPST latitude(deg) longitude(deg) height(m) Q ns sdn(m) sde(m) sdu(m) sdne(m) sdeu(m) sdun(m) age(s) ratio
"""
RTKLIB_LINES = """\
2009/07/15 07:10:00.000 32.560273272 -116.953525346 118.6783 1 10 0.0186 0.0202 0.0899 -0.0072 0.0089 -0.0249 0.00 4.5
2009/07/15 07:10:10.000 32.560273266 -116.953525340 118.6877 1 10 0.0144 0.0154 0.0776 -0.0058 0.0082 -0.0199 0.00 5.3
"""

# OEM7 manual of NovAtel, logs GPGGA, GPRMC and GPZDA
NOVATEL_GGA = "$GPGGA,202530.00,5109.0262,N,11401.8407,W,5,40,0.5,1097.36,M,-17.00,M,18,TSTR*61"
NOVATEL_RMC = "$GPRMC,203522.00,A,5109.0262308,N,11401.8407342,W,0.004,133.4,130522,0.0,E,D*2B"
NOVATEL_ZDA = "$GPZDA,204007.00,13,05,2022,,*62"
# a second of a Hemisphere VS100 on a ship, as NOAA publishes it (ATOMIC 2020, gps02001420_raw.txt)
SHIP = """$GPHDT,74.20,T*34
$GPGGA,195959.00,1541.31258893,N,05130.51204125,W,2,06,1.5,9.2,M,-37.6,M,4.0,0138*7E
$GPGLL,1541.31258893,N,05130.51204125,W,195959.00,A,D*7B
$GPZDA,195959.00,14,01,2020,00,00*6A
$GPRMC,195959.00,A,1541.31258893,N,05130.51204125,W,0.26,147.44,140120,16.9,W,D*0B
$GPGST,195959.00,0.30,0.36,0.26,283.74,0.26,0.36,0.68*68
"""

# an uplink with its radio as the documentation of ChirpStack 4 shows it; the data are Decentlab's example of DL-CTD10
CAMPBELL_STATE = {"clientId": "CR1000X_70681", "state": "offline", "reason": "OS update"}

CHIRPSTACK = {
    "deduplicationId": "3ac7e3c4-4401-4b8d-9386-a5c902f9202d",
    "time": "2022-07-18T09:34:15.775023242+00:00",
    "deviceInfo": {"deviceName": "T1", "devEui": "0101010101010101"},
    "devAddr": "00189440",
    "dr": 1,
    "fPort": 1,
    "data": base64.b64encode(bytes.fromhex("0207d900039088808100640000" + "0c60")).decode(),
    "rxInfo": [{"gatewayId": "0016c001f153a14c", "uplinkId": 4217106255, "rssi": -36, "snr": 10.5}],
    "txInfo": {"frequency": 867100000},
}


def _uplink(data):
    return _json({**CHIRPSTACK, "data": base64.b64encode(bytes.fromhex(data)).decode()})


PUBLISHED = (
    Published("campbell", "cs/v2/data/cr1000x/400/Public/cj", CAMPBELL_HELP),
    Published("campbell", "cs/v2/data/cr6/18341/Public/cj", CAMPBELL_CR6),
    # of a CR1000X while its system is renewed: campbell-mqtt-control of the UK Centre for Ecology and Hydrology
    Published("campbell", "cs/v2/state/QU8Q-9JTY-HVP8/", _json(CAMPBELL_STATE)),
    Published("sensorthings", "v1.1/Datastreams(1)/Observations", _json(OBSERVATION)),
    Published("sensorthings", "v1.1/Datastreams(423)/Observations", _json(OBSERVATIONS)),
    Published("sparkplug", "spBv1.0/tedge/NBIRTH/sim-cnc01", NBIRTH),
    Published("sparkplug", "spBv1.0/tedge/NDATA/sim-cnc01", NDATA),
    Published("sparkplug", "spBv1.0/tedge/DDATA/sim-cnc01/lock", DDATA),
    Published("sparkplug", "spBv1.0/tedge/NDEATH/sim-cnc01", NDEATH),
    # Homie 2.1, 4.0 and 5.0: the super car of the convention
    Published("plain", "homie/super-car/engine/temperature", b"21.5"),
    Published("plain", "homie/super-car/$state", b"ready"),
    Published("json", "gateway/json", _json(WATER)),
    Published("rtklib", "gnss/OMRE/pos", (RTKLIB_HEAD + RTKLIB_LINES).encode()),
    Published("nmea", "gnss/NOV/nmea", f"{NOVATEL_RMC}\r\n{NOVATEL_GGA}\r\n".encode()),
    Published("nmea", "gnss/SHIP/nmea", SHIP.encode()),
    Published("decentlab-ctd10", "lora/up", _json(CHIRPSTACK)),
    Published("decentlab-lid", "lid/up", _uplink("0211c90003119b117611bc119e118a119411a811a81194006401990abd")),
    Published("decentlab-zn1", "zn1/up", _uplink("0211110003409a00860c54")),
    Published("milesight", "mile/up", _uplink("01756403D4000001005046")),
    # RFC 8428, 5.1.2, with quantities of slopes
    Published(
        "senml",
        "senml/up",
        (
            b'[{"bn": "urn:dev:ow:G1:", "bt": 1772000000.0, "bu": "m", "bver": 5, "n": "water_level", "v": 120.1}, '
            b'{"n": "battery_voltage", "u": "V", "t": -5, "v": 1.2}]'
        ),
    ),
    Published(
        "ecowitt",
        "weather/W1",
        b'{"dateutc": "2022-05-18 18:17:37", "baromabsin": "28.476", "tempf": "74.5", "yrain_piezo": "1.000"}',
    ),
    Published(
        "ecowitt-metric",
        "weather-metric/W1",
        b'{"dateutc": "2022-05-18 18:17:37", "baromabsin": "837.793", "tempf": "-4.4", "yrain_piezo": "1.000"}',
    ),
    Published(
        "native",
        "slopeward/v1/north/G1/obs",
        (
            b'{"time": "2026-03-01T06:00:00Z", "source": "logger-3", "boot_id": 12, "seq": 1842, '
            b'"displacement_east_mm": 12.4, "sigma": {"displacement_east_mm": 0.9}}'
        ),
    ),
    Published(
        "report",
        "slopeward/v1/north/report",
        (b'{"time": "2026-03-01T06:00:00Z", "kind": "crack", "text": "3 cm, 20 m long", "by": "Ada", "station": "G1"}'),
    ),
    Published(
        "event",
        "slopeward/v1/north/event",
        (
            b'{"from": "2026-03-01T06:00:00Z", "to": "2026-03-01T06:30:00Z", "kind": "blasting", "value": 120, '
            b'"text": "4"}'
        ),
    ),
    Published(
        "rows",
        "file/north",
        (b'{"rows": [{"time": "2026-03-01T06:00:00Z", "station": "G1", "quantity": "displacement_mm", "value": 1.5}]}'),
    ),
)

SITE_FILE = """
[site]
id = "north"
name = "North"
latitude = 46.0
longitude = 9.0

[[station]]
id = "G1"
series = [{quantity = "displacement", unit = "mm", interval = "1h"}]
[[station]]
id = "super-car"
series = [{quantity = "temperature", unit = "degC", interval = "1h"}]
[[station]]
id = "sim-cnc01"
series = [{quantity = "temperature", unit = "degC", interval = "1h"}]
[[station]]
id = "OMRE"
origin = {latitude = 32.5602732, longitude = -116.9535253, height_m = 118.68, since = 2009-07-01T00:00:00Z}
series = [{quantity = "displacement", unit = "mm", interval = "1h"}]
[[station]]
id = "NOV"
origin = {latitude = 51.15043667, longitude = -114.03067833, height_m = 1080.36, since = 2022-05-01T00:00:00Z}
series = [{quantity = "displacement", unit = "mm", interval = "1h"}]
[[station]]
id = "SHIP"
origin = {latitude = 15.688543148, longitude = -51.508534021, height_m = -28.4, since = 2020-01-01T00:00:00Z}
series = [{quantity = "displacement", unit = "mm", interval = "1h"}]

[[decoder]]
topic = "cs/v2/data/#"
name = "campbell"
[decoder.series]
batteryVolt = "battery_voltage_v"
crTemp = "temperature_degc"
Batt_volt_Min = "battery_voltage_v"
PTemp = "temperature_degc"
[[decoder]]
topic = "cs/v2/state/#"
name = "campbell"
station = "CR1000X_70681"
series = {Batt_volt_Min = "CR6_18341.battery_voltage_v"}
[[decoder]]
topic = "cs/v2/named/#"
name = "campbell"
series = {Batt_volt_Min = "CR6_18341.battery_voltage_v"}
[[decoder]]
topic = "v1.1/+/Observations"
name = "sensorthings"
series = {1 = "P1.temperature_degf", 423 = "WUM.temperature_degc"}
[[decoder]]
topic = "spBv1.0/tedge/#"
name = "sparkplug"
[decoder.series]
"coolant.temperature.celsius" = "temperature_degc"
"axis.x.position.mm" = "displacement_mm"
"hydraulic.pressure.bar" = "pore_pressure_bar"
[[decoder]]
topic = "homie/{station}/engine/{quantity}"
name = "plain"
series = {temperature = "temperature_degc"}
[[decoder]]
topic = "homie/{station}/$state"
name = "plain"
[[decoder]]
topic = "gateway/json"
name = "json"
time = "payload_fields.timestamp"
time_unit = "s"
device = "dev_id"
[decoder.series]
"payload_fields.waterTemperature" = "temperature_degc"
"payload_fields.batteryVoltage" = "battery_voltage_v"
[[decoder]]
topic = "gnss/{station}/pos"
name = "rtklib"
[[decoder]]
topic = "gnss/{station}/nmea"
name = "nmea"
"""
TOPICS = {
    "decentlab-ctd10": "lora/up",
    "decentlab-lid": "lid/up",
    "decentlab-zn1": "zn1/up",
    "milesight": "mile/up",
    "senml": "senml/up",
    "ecowitt": "weather/W1",
    "ecowitt-metric": "weather-metric/W1",
}
SITE_FILE += "".join(f'[[decoder]]\ntopic = "{topic}"\nname = "{name}"\n' for name, topic in TOPICS.items())
SITE = parse_site(SITE_FILE, "north.toml")


def message(one: Published, payload: bytes | None = None, **more) -> BrokerMessage:
    """Return the message of the broker with the published payload, or with another one."""
    return BrokerMessage(
        one.topic, one.payload if payload is None else payload, NOW, "live", connection_number=1, **more
    )


_STRAY = {one.decoder for one in PUBLISHED} ^ set(list_decoders())
assert not _STRAY, f"{_STRAY}: each decoder needs a published payload in this module, and each payload a decoder"
