"""What follows from a site file alone is found once for it, and anew for every other one."""

from dataclasses import replace

from monitor.domain.site import KEPT_SITES, once_per_record
from monitor.domain.witnesses import find_groups
from tests.property.alerting_histories import SITE


def test_what_was_found_is_kept_for_the_very_site_and_no_other():
    asked = []
    name_of = once_per_record(lambda site: asked.append(site) or site.name)
    other = replace(SITE, name="other")
    assert [name_of(s) for s in (SITE, other, SITE, other)] == [SITE.name, "other", SITE.name, "other"]
    assert asked == [SITE, other]
    for k in range(KEPT_SITES):  # sites come and go: what is kept is bounded
        assert name_of(replace(SITE, name=str(k))) == str(k)
    assert name_of(SITE) == SITE.name
    assert len(asked) == KEPT_SITES + 3
    apart = replace(SITE, stations=tuple(replace(s, reference=None, logger=None) for s in SITE.stations))
    assert find_groups(SITE) != find_groups(apart)
    assert find_groups(apart)["A"] == "A"
