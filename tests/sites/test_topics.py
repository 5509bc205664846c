"""Decoders and channels must not use the topics of the service; groups of watched series."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from monitor.errors import ConfigError
from monitor.ingest.message import matches
from monitor.settings.service import parse_service
from monitor.sites.channels import list_channel_kinds
from monitor.sites.parsing import parse_site
from monitor.sites.records import Site
from monitor.sites.topics import TOPIC_ROOT, matches_service_topics
from monitor.sites.watched import MOTION_GROUP, list_groups
from tests.data.site_text import head, series, station
from tests.tables import tabulated

LEVELS = st.sampled_from(["slopeward", "v1", "v2", "north", "state", "obs", "app", "+", "", "Slopeward"])
FILTERS = st.builds(
    lambda levels, rest: "/".join([*levels, *(["#"] if rest else [])]), st.lists(LEVELS, max_size=5), st.booleans()
).filter(bool)
OWN = [
    f"{TOPIC_ROOT}/{levels}"
    for levels in (
        *"status north/state v1/obs /app app v2 Slopeward obs north/G1/obs north/state/obs slopeward/v1/north".split(),
        "north/north/state/obs",
        "",
    )
]
SITE = head("south", timezone="UTC", levels={"names": ["green", "yellow"]}) + station(
    "G1", series("displacement", "mm", max_silence="6h")
)


@given(FILTERS)
@example("#")
@example("+/+/north/state")
@example("slopeward/#")
def test_filter_matches_service_topics_exactly_if_broker_would_deliver(topic_filter):
    assert matches_service_topics(topic_filter) or not any(matches(topic_filter, topic) for topic in OWN)
    if matches_service_topics(topic_filter):
        levels = topic_filter.split("/")
        own = [*TOPIC_ROOT.split("/"), "north"]
        if "#" in levels:
            levels = [*levels[: levels.index("#")], *own[levels.index("#") :]]
        topic = "/".join(
            own[k] if level == "+" and k < 3 else "north" if level == "+" else level for k, level in enumerate(levels)
        )
        assert topic.startswith(f"{TOPIC_ROOT}/")
        assert matches(topic_filter, topic)


@given(FILTERS)
def test_decoder_that_matches_service_topics_is_rejected(topic_filter):
    text = f'{SITE}[[decoder]]\ntopic = "{topic_filter}"\nname = "senml"\n'
    if matches_service_topics(topic_filter):
        with pytest.raises(ConfigError, match="below slopeward/v1/"):
            parse_site(text, "south.toml")
    else:
        assert parse_site(text, "south.toml").decoders[0].topic == topic_filter


@tabulated("topic", ["slopeward/v1/north/state", "slopeward/v1/south/alert", "slopeward/v1/status"])
@tabulated("kind", [kind for kind, one in list_channel_kinds().items() if one.of_broker])
def test_channel_on_service_topic_is_rejected(kind, topic):
    text = f'{SITE}[[recipient]]\nname = "gate"\nlevels = ["yellow"]\nchannels = ["{kind}:{topic}"]\n'
    with pytest.raises(ConfigError, match=r"recipient.*channels\[0\].*below slopeward/"):
        parse_site(text, "south.toml")
    with pytest.raises(ConfigError, match="below slopeward/"):
        parse_service(f'[channels.test_to]\n"{kind}:alarms" = "{kind}:{topic}"\n', "slopeward.toml", {})


@pytest.mark.parametrize("shared", ["$share/group/slopeward/v1/+/state", "$share/group/#"])
def test_shared_subscription_matches_as_its_filter(shared):
    assert matches_service_topics(shared)


def make_site(*motions: tuple[str, str, str]) -> Site:
    """A site of stations with one series each: station, quantity, interval; the pin is read by hand."""
    text = head("bench")
    for name, quantity, interval in motions:
        one = series(quantity, "mm", interval, max_silence="60d", by_hand=name == "pin")
        text += station(name, one, azimuth_deg=90.0, plunge_deg=0.0)
    return parse_site(text, "bench.toml")


def describe_groups(site: Site) -> dict[str, tuple[float, list[str]]]:
    ids = {(st.id, s.quantity): n for n, st in enumerate(site.stations, 1) for s in st.series}
    return {g.name: (g.step_s, [one.station.id for one in g.series]) for g in list_groups(site, ids)}


ROVER = ("rover", "displacement_distance", "3h")
PIN = ("pin", "crack_opening", "1d")
SATELLITE = ("satellite", "displacement_los", "12d")


def test_manual_and_satellite_series_do_not_lengthen_detector_step() -> None:
    assert describe_groups(make_site(ROVER, PIN)) == {
        MOTION_GROUP: (10800.0, ["rover"]),
        "crack_opening every 86400 s": (86400.0, ["pin"]),
    }
    assert describe_groups(make_site(ROVER, ("tape", "displacement_distance", "1d"), SATELLITE)) == {
        MOTION_GROUP: (86400.0, ["rover", "tape"]),
        "displacement_los every 1.0368e+06 s": (12 * 86400.0, ["satellite"]),
    }
    assert make_site(ROVER, SATELLITE).slowest_motion_s == 12 * 86400.0


@pytest.mark.parametrize(("alone", "step_s"), [(PIN, 86400.0), (SATELLITE, 12 * 86400.0)])
def test_manual_or_satellite_series_alone_forms_motion_group(alone: tuple[str, str, str], step_s: float) -> None:
    assert describe_groups(make_site(alone)) == {MOTION_GROUP: (step_s, [alone[0]])}
