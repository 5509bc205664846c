"""Print what was understood of files, what raises a level at their site, and what nothing judges."""

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final

from monitor.api.cli import name_os_actor, print_note
from monitor.api.decision import RecordDays, WarningSummary
from monitor.api.sites import QUANTITIES
from monitor.api.text import list_names
from monitor.features.table_import.cli.asking import print_facts, read_pairs
from monitor.features.table_import.drafts import SiteDraft
from monitor.features.table_import.folder import ImportGuess
from monitor.features.table_import.guess import site_file

# Where the documentation explains how proposed bounds are confirmed.
HOW_TO_CONFIRM: Final = "how: /help/how-to/write-a-site-file#confirm-the-bounds-of-a-new-file on the page"


def print_understood(found: ImportGuess) -> None:
    """Print what was understood of each file, which files are left out, and which series stand in several files."""
    for file in found.files:
        print_facts(file, is_titled=len(found.files) > 1)
    for path, reason in found.left_out:
        print_note(f"{path.name} is left out: {reason}")
    for (station, quantity), files in found.find_shared_series().items():
        names = ", ".join(file.path.name for file in files)
        print_note(f"{station}.{quantity} is in several files ({names}); they are stored as one series")
    if len(found.files) > 1:
        for _, text in found.find_instruments().facts:
            print_note(text)


def read_given_bounds(
    given: Sequence[str], by: str | None, source: str = "with --bound"
) -> list[site_file.LevelBounds]:
    """Return the bounds that a person gives as `QUANTITY=NUMBERS`, each with the person and the reason.

    Args:
        given: The bounds.
        by: The person; None for the account of the operating system.
        source: Where they were given; stands in the reason.
    """
    reason = f"given {source} on {datetime.now(UTC):%Y-%m-%d}"
    read = partial(site_file.read_bounds, author=by or name_os_actor().name, reason=reason)
    pairs = read_pairs("--bound", "tilt_x=5", given)
    return [bound for quantity, text in pairs.items() for bound in read(quantity, text)]


def describe_count(record: RecordDays | None) -> dict[str, object]:
    """Return the length of the record in days, or why its days were not counted, as plain values."""
    if record is None:
        return {}
    warnings = [str(line) for line in record.list_warnings()]
    found: dict[str, object] = {"no_reading_counts": warnings} if warnings else {}
    if record.reason is not None:
        return found | {"days_not_counted": str(record.reason)}
    if record.part is not None:
        found["part_of_record"] = str(record.part)
    return found | {"record_days": record.total, "days_judged": dict(record.judged)}


def print_warnings(warnings: WarningSummary, draft: SiteDraft) -> None:
    """Print what raises which level, how quickly, what is missed, and what is not judged."""
    for line in [] if draft.record is None else draft.record.list_warnings():
        print(f"{line}. Check the columns, units and --answer values above, correct them and run this command again.")
    print(f"What raises a level at {draft.site.id}:")
    for group in warnings.groups:
        print(f"  {group.heading}")
        for line in group.list_lines():
            print(f"    {line}")
    if not warnings.groups:
        print("  no motion raises a level")
    for line in site_file.list_notes(warnings, draft.added):
        print(f"  {line}")
    if draft.undeclared:
        names = list_names([f"{sensor.station}.{sensor.quantity}" for sensor in draft.undeclared])
        print(
            f"  the site file does not declare {names}: the readings are stored and raise no level. Declare these "
            "series under their stations; the stored readings count from then on"
        )
    if draft.record is not None and draft.record.reason is not None:
        print(f"  days of this record at each level were not counted: {draft.record.reason}")
    if draft.site.criteria and draft.record is not None and draft.record.part is not None:
        print(f"  days of this record at each level: {draft.record.part}")


def explain_unjudged(draft: SiteDraft, bounds: Sequence[site_file.LevelBounds], path: Path) -> None:
    """Print the quantities that no criterion judges, and a criterion to copy into the site file."""
    site = draft.site
    top = site.levels[-1].name
    refused = f"`slopeward check` exits 1 until a criterion can raise {top!r}"
    unjudged = draft.find_unjudged(bounds)
    if unjudged is None:
        if draft.is_weak:
            print_note(f"{refused}; no series of {site.id} can yet")
        return
    quantities = ", ".join(unjudged.quantities)
    first = f"{unjudged.quantities[0]}=NUMBERS {QUANTITIES[unjudged.quantities[0]].unit}"
    print_note(
        f"nothing judges {quantities} yet: give --bound '{first}' with this command, or write criteria "
        f"into {path}, with a number of this slope for each BOUND"
    )
    for line in unjudged.criterion.splitlines():
        print_note(f"  {line}")
    if draft.is_weak:
        print_note(f"  {refused}")
