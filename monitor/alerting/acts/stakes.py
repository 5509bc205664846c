"""What is at stake on a slope: whether an act that changes what counts there takes two people."""

from sqlalchemy import Connection

from monitor.alerting.acts.change_control import find_in_force
from monitor.alerting.acts.operator_acts import measure_stake
from monitor.decision.signatures import needs_two
from monitor.store.alerting.sites import find_version
from monitor.store.people.users import load_users


def needs_two_people(c: Connection, site_id: str) -> tuple[int, bool]:
    """The highest level that stands or is asked for, and whether one person alone may not touch what it rests on.

    Before the first account one person is enough. A slope whose file this program cannot read takes two.
    """
    site = find_in_force(c, site_id)
    if site is None:
        return 0, find_version(c, site_id) is not None and bool(load_users(c))
    height = measure_stake(c, site)
    return height, needs_two(site, height) and bool(load_users(c))
