"""What can be wrong with the sources of the service file."""

import os
from collections.abc import Iterator
from typing import Final

from monitor.app.checks.site_files import SET_IT, Environment, SiteFolder
from monitor.errors import ConfigError, UnsetError
from monitor.features.sources.plan import find_faults
from monitor.storage.check import BAD, Check, SubjectState, found
from monitor.text.message import Figure


def _list_faults(files: SiteFolder) -> list[ConfigError]:
    return list(find_faults(files.service.source, {site.id for site in files.sites}, os.environ))


def _sources(files: SiteFolder) -> Iterator[SubjectState]:
    faults = _list_faults(files)
    yield from (found(fault=one.message) for one in faults if not isinstance(one, UnsetError))
    if files.service.source and not faults:
        yield found(is_wrong=False, n=Figure(len(files.service.source), "d"))


CHECKS: Final = (
    Check(
        "sources.faults",
        SiteFolder,
        BAD,
        "{fault}",
        _sources,
        "mend its [[source]] table, or what it names",
        fine="{n} usable",
    ),
    Check(
        "sources.unset",
        Environment,
        BAD,
        "{fault}",
        lambda s: (found(fault=x.message) for x in _list_faults(s.files) if isinstance(x, UnsetError)),
        SET_IT,
    ),
)
