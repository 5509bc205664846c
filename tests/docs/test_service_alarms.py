"""The page docs/reference/service-alarms.md lists every alarm of the service about itself."""

import re
from fnmatch import fnmatchcase

from monitor.app.checks.table import list_checks
from tests.fixtures.waiting import REPOSITORY

PAGE = REPOSITORY / "docs/reference/service-alarms.md"
KINDS = {1: "notice", 2: "urgent"}


def read_kinds() -> dict[str, str]:
    """Return the kind of each alarm of the page by its key."""
    kinds = {}
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        cells = line.strip("| ").split(" | ")
        if len(cells) == 4 and cells[1] in KINDS.values():
            kinds |= dict.fromkeys(re.findall(r"`(health:[^`]+)`", cells[0]), cells[1])
    return kinds


def test_page_lists_each_alarm_of_a_check_with_its_kind():
    documented = read_kinds()
    assert len(documented) > 50
    wrong = []
    for check in list_checks():
        if not check.alarm:
            continue
        pattern = f"health:{check.pattern}"
        kinds = {kind for key, kind in documented.items() if fnmatchcase(key, pattern)}
        if kinds != {KINDS[check.alarm]}:
            wrong.append((pattern, KINDS[check.alarm], kinds))
    assert not wrong
