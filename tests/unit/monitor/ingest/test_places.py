"""Where a station stands, as the files of its network say it; published heads, some with longitudes westward."""

import pytest

from monitor.ingest.files.gnss import find_place

TENV3 = (
    "site YYMMMDD yyyy.yyyy __MJD week d reflon _e0(m) __east(m) ____n0(m) _north(m) u0(m) ____up(m) _ant(m) sig_e(m) "
    "sig_n(m) sig_u(m) __corr_en __corr_eu __corr_nu _latitude(deg) _longitude(deg) __height(m)\n"
    "IRKJ 01AUG02 2001.5852 52123 1125 4 104.3 1105 0.850890 5787713 0.876094 502 0.037682 0.1280 0.001251 0.001765 "
    "0.005737 -0.044317 0.177658 -0.150916 52.2190208542 -255.6838189495 502.03768\n"
)
POS = (
    "PBO Station Position Time Series. Reference Frame : ITRF08\n4-character ID: P156\n"
    "XYZ Reference position :  -2728552.76567 -4059578.57836  4080378.74254 (ITRF08)\n"
    "NEU Reference position :    40.0244429509  236.0938828649  488.99986 (ITRF08/WGS84)\n"
)
CSV = (
    "PBO Station Position Time Series.\n4-character ID, P816\n"
    "Reference position, 47.9371111486 North Latitude, -124.5570865568 East Longitude, 35.75720 meters elevation\n"
)
TENV = "LHAS 95MAY19 1995.3785 49856  801 5  -0.000000   0.000000   0.000000  0.0000 0.002231 0.001932 0.008643\n"


@pytest.mark.parametrize(
    ("text", "place"),
    [
        (TENV3, (52.2190208542, 104.3161810505, 502.03768)),
        (POS, (40.0244429509, -123.9061171351, 488.99986)),
        ("#" + POS.replace("\n", "\n#"), (40.0244429509, -123.9061171351, 488.99986)),
        (CSV, (47.9371111486, -124.5570865568, 35.7572)),
        (TENV, None),
        (TENV3.replace("52.2190208542", "152.2190208542"), None),
        (TENV3.replace("502.03768", "n/a"), None),
        (TENV3.replace("502.03768", "n/a") + TENV3.splitlines()[1], (52.2190208542, 104.3161810505, 502.03768)),
    ],
)
def test_the_place_of_a_station_is_that_of_its_file(text, place, tmp_path):
    (tmp_path / "a.txt").write_text(text)
    found = find_place(tmp_path / "a.txt")
    assert found == (None if place is None else pytest.approx(place, abs=1e-9))
