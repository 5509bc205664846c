"""Whether a site has several people or several channels. Otherwise duty plans, drills and approvals have no purpose."""

from collections.abc import Iterable

from sqlalchemy import Connection

from monitor.people.queries.users import load_operators
from monitor.sites.declarations import find_declaration
from monitor.sites.queries.sites import load_sites_summary
from monitor.sites.records import Site


def has_several_people(c: Connection, site_id: str | None = None) -> bool:
    """Return whether more than one person or more than one channel takes part in the warnings of a site.

    The page shows duty plans, drills and approvals only then. A person is an open account that may act on the site
    (role operator or admin). A channel is a `kind:address` of a recipient in the site file in force.

    Args:
        c: a read transaction.
        site_id: the site; None to check whether any active site has several people or channels.
    """
    sites = [site for site in load_sites_summary(c) if site_id is None or site.id == site_id]
    operators = load_operators(c)
    for site in sites:
        people = [account for account in operators if account.sites is None or site.id in account.sites]
        if len(people) > 1:
            return True
        declaration = find_declaration(c, site.config_sha256)
        if declaration is not None and len(set(list_channels(declaration))) > 1:
            return True
    return False


def list_channels(site: Site) -> Iterable[str]:
    """Return the channels of all recipients of a site, members of teams included. Channels can occur repeatedly."""
    return [channel for recipient in site.recipients for person in recipient.everybody for channel in person.channels]
