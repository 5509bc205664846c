"""Nobody else speaks where the service speaks: no filter of a decoder and no channel reaches its own topics."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from monitor.config.service import parse_service
from monitor.config.site import parse_site
from monitor.domain.topics import ROOT, reaches_own_topics
from monitor.errors import ConfigError
from monitor.ingest.message import matches

LEVELS = st.sampled_from(["slopeward", "v1", "v2", "north", "state", "obs", "app", "+", "", "Slopeward"])
FILTERS = st.builds(
    lambda levels, rest: "/".join([*levels, *(["#"] if rest else [])]), st.lists(LEVELS, max_size=5), st.booleans()
).filter(bool)
OWN = [
    f"{ROOT}/{'/'.join(levels)}"
    for levels in (
        ("status",),
        ("north", "state"),
        ("v1", "obs"),
        ("", "app"),
        ("app",),
        ("v2",),
        ("Slopeward",),
        ("obs",),
        ("",),
        ("north", "G1", "obs"),
        ("north", "state", "obs"),
        ("slopeward", "v1", "north"),
        ("north", "north", "state", "obs"),
    )
]
SITE = """
[site]
id = "south"
name = "South"
latitude = 46.0
longitude = 9.0
timezone = "UTC"
[levels]
names = ["green", "yellow"]
[[station]]
id = "G1"
[[station.series]]
quantity = "displacement"
unit = "mm"
interval = "1h"
max_silence = "6h"
"""


@given(FILTERS)
@example("#")
@example("+/+/north/state")
@example("slopeward/#")
def test_a_filter_reaches_our_topics_just_where_a_broker_would_deliver_one(topic_filter):
    assert reaches_own_topics(topic_filter) or not any(matches(topic_filter, topic) for topic in OWN)
    if reaches_own_topics(topic_filter):
        levels = topic_filter.split("/")
        own = [*ROOT.split("/"), "north"]
        if "#" in levels:
            levels = [*levels[: levels.index("#")], *own[levels.index("#") :]]
        topic = "/".join(
            own[k] if level == "+" and k < 3 else "north" if level == "+" else level for k, level in enumerate(levels)
        )
        assert topic.startswith(f"{ROOT}/")
        assert matches(topic_filter, topic)


@given(FILTERS)
def test_a_site_file_with_a_decoder_that_reaches_our_topics_is_refused(topic_filter):
    text = f'{SITE}[[decoder]]\ntopic = "{topic_filter}"\nname = "senml"\n'
    if reaches_own_topics(topic_filter):
        with pytest.raises(ConfigError, match="below slopeward/v1/"):
            parse_site(text, "south.toml")
    else:
        assert parse_site(text, "south.toml").decoders[0].topic == topic_filter


@pytest.mark.parametrize("topic", ["slopeward/v1/north/state", "slopeward/v1/south/alert", "slopeward/v1/status"])
@pytest.mark.parametrize("kind", ["mqtt", "siren"])
def test_no_channel_speaks_for_a_site_or_the_service(kind, topic):
    text = f'{SITE}[[recipient]]\nname = "gate"\nlevels = ["yellow"]\nchannels = ["{kind}:{topic}"]\n'
    with pytest.raises(ConfigError, match=r"recipient.*channels\[0\].*below slopeward/"):
        parse_site(text, "south.toml")
    with pytest.raises(ConfigError, match="below slopeward/"):
        parse_service(f'[channels.test_to]\n"{kind}:alarms" = "{kind}:{topic}"\n', "slopeward.toml", {})


@pytest.mark.parametrize("shared", ["$share/group/slopeward/v1/+/state", "$share/group/#"])
def test_a_shared_subscription_reaches_what_its_filter_reaches(shared):
    assert reaches_own_topics(shared)
