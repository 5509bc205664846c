"""Checks of the sources in the service file, and of the files that they bring."""

import os
from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import datetime
from typing import Final, NamedTuple

from monitor.api.app import SET_VARIABLE_REMEDY, EnvironmentSettings
from monitor.api.checks import BAD, WARN, Check, CurrentDatabase, SiteFolder, SubjectState, make_state
from monitor.api.errors import ConfigError, MissingSettingError
from monitor.api.settings import FOLDER_KIND, SourceSection
from monitor.api.text import Figure, Message, Template, Timestamp
from monitor.features.sources.queries import PollState, load_polls
from monitor.features.sources.section import find_faults

# Time after which a file in a watched folder that cannot be read causes an alarm.
FOLDER_SILENT_S: Final = 600.0
_NEVER_POLLED: Final = Template("check.sources.never", "never polled")()
_POLL: Final = Template("check.sources.poll", "slopeward run, or slopeward ingest sources poll {name}")
_FAILS: Final = Template("check.sources.fails", "since {at}: {problem}")
_MEND: Final = Template("check.sources.mend", "correct it; the source is polled again")()
_SINCE: Final = Template("check.source.since", "{what} since {at}: {problem}")
_FOLDER: Final = Template("check.source.folder", "a file in the watched folder of {site} cannot be read")
_NO_FILES: Final = Template("check.source.silent", "source {name} brings no files")
_NO_FILES_OF: Final = Template("check.source.silent_of", "source {name} of {site} brings no files")
_FOREIGN: Final = Template("check.source.foreign", "source {name} is for site {site}, which is not configured")


class SourceStatus(NamedTuple):
    """The sources of the service file and the results of their polls."""

    sections: Sequence[SourceSection]
    sites: Collection[str]
    polls: Iterable[PollState]
    now: datetime


def _list_faults(files: SiteFolder) -> list[ConfigError]:
    return list(find_faults(files.service.source, {site.id for site in files.sites}, os.environ))


def _check_sections(files: SiteFolder) -> Iterator[SubjectState]:
    faults = _list_faults(files)
    yield from (make_state(fault=fault.message) for fault in faults if not isinstance(fault, MissingSettingError))
    if files.service.source and not faults:
        yield make_state(is_wrong=False, n=Figure(len(files.service.source), "d"))


def _check_secrets(environment: EnvironmentSettings) -> Iterator[SubjectState]:
    for fault in _list_faults(environment.files):
        if isinstance(fault, MissingSettingError):
            yield make_state(fault=fault.message)


def _check_polls(database: CurrentDatabase) -> Iterator[SubjectState]:
    states = {state.source: state for state in database.db.run_read(load_polls)}
    servers = {section.name for section in database.service.source if section.kind != FOLDER_KIND}
    folders = {name for name, state in states.items() if state.kind == FOLDER_KIND}
    for name in sorted(servers | folders):
        state = states.get(name)
        if state is None:
            yield make_state(name, text=_NEVER_POLLED, todo=_POLL(name=name))
        elif state.error is not None:
            since = Timestamp.of(state.error_since or state.since_at, "minute")
            yield make_state(name, text=_FAILS(at=since, problem=state.error), todo=_MEND)
        else:
            at = state.success_at and Timestamp.of(state.success_at, "minute")
            yield make_state(name, is_wrong=False, at=at)


def _check_silence(status: SourceStatus) -> Iterator[SubjectState]:
    """Yield every source. It is wrong if no poll succeeded for too long, or if its site is not configured."""
    states = {state.source: state for state in status.polls}
    sections = {section.name: section for section in status.sections if section.kind != FOLDER_KIND}
    for name in sorted(sections.keys() | states.keys()):
        section, state = sections.get(name), states.get(name)
        if section is not None and section.site not in status.sites:
            yield make_state(name, text=_FOREIGN(name=name, site=section.site))
            continue
        since, limit_s = _find_silence(section, state)
        is_late = since is not None and (status.now - since).total_seconds() > limit_s
        yield make_state(name, is_wrong=is_late, text=_describe_silence(name, state, since))


def _find_silence(section: SourceSection | None, state: PollState | None) -> tuple[datetime | None, float]:
    """Return since when no poll of a source succeeded, and how many seconds that may last.

    The instant is None if the latest poll succeeded or if there was none.
    """
    if state is None or state.error is None:
        return None, 0.0
    if state.kind == FOLDER_KIND:
        return state.error_since, FOLDER_SILENT_S
    return (None, 0.0) if section is None else (state.success_at or state.since_at, section.silent_s)


def _describe_silence(name: str, state: PollState | None, since: datetime | None) -> Message:
    if state is None:
        what = _NO_FILES(name=name)
    elif state.kind == FOLDER_KIND:
        what = _FOLDER(site=state.site)
    else:
        what = _NO_FILES_OF(name=name, site=state.site)
    if state is None or since is None:
        return what
    return _SINCE(what=what, at=Timestamp.of(since, "minute"), problem=state.error or "")


CHECKS: Final = (
    Check(
        "sources.faults",
        SiteFolder,
        BAD,
        "{fault}",
        _check_sections,
        "correct its [[source]] table, or the file that it names",
        fine="{n} usable",
    ),
    Check(
        "sources.unset",
        EnvironmentSettings,
        BAD,
        "{fault}",
        _check_secrets,
        SET_VARIABLE_REMEDY,
    ),
    Check("sources.polled", CurrentDatabase, WARN, "{text}", _check_polls, "{todo}", fine="last success {at}"),
    Check("source.*", SourceStatus, WARN, "{text}", _check_silence, alarm=1, degrades=True),
)
