"""What core runs for telephony: only what is used, and its trouble is seen after a look that failed as well."""

from datetime import UTC, datetime
from types import SimpleNamespace

import pytest

from monitor.checks.table import run_checks
from monitor.config.service import parse_service
from monitor.domain.extension import ServicePart
from monitor.domain.site import Recipient
from monitor.extensions.telephony.modem import ModemWatch
from monitor.extensions.telephony.parts import build_parts
from monitor.extensions.telephony.sirens import Sirens
from monitor.extensions.telephony.store.devices import find_push_key
from monitor.service.core import Core
from tests.data.store_rows import ask
from tests.integration.notify.outbox import site_with

NOW = datetime(2026, 11, 1, 6, tzinfo=UTC)
HORN = {"north": site_with(Recipient("horn", ("siren:valley/horn",), (3,), ("hazard",)))}


def test_core_runs_what_is_used_and_publishes_the_key_once_there_is_one(filled_database, tmp_path):
    head = f'[paths]\nstate = "{tmp_path}"\n'
    (plain,) = build_parts(filled_database, parse_service(head, "x"), {}, lambda: NOW)
    plain.follow()
    assert ask(filled_database, find_push_key) == ""
    (tmp_path / "push.key").write_text("yfWPiYE-n46HLnH0KqZOF1fJJU3MYrct3AELtAQ-oRw\n")
    plain.follow()
    assert ask(filled_database, find_push_key).startswith("BP4z9KsN6nGRTbVYI_c7")
    config = parse_service(f'{head}[sms]\ngateway = "modem"\nmodem = "{tmp_path}/modem"\n', "x")
    _, modem, sirens = build_parts(filled_database, config, HORN, lambda: NOW)
    assert [type(one) for part in (modem, sirens) for one in part.seen] == [ModemWatch, Sirens]
    (finding,) = run_checks(*modem.seen)
    assert (finding.check.id, "the folder" in finding.text) == ("sms.modem", True)
    assert [one.subject for one in run_checks(*sirens.seen)] == ["valley/horn"]


def test_a_look_that_fails_hides_no_trouble():
    def fail():
        raise OSError("the look failed")

    followed, core = [], SimpleNamespace(_follow=lambda *seen: followed.extend(seen))
    with pytest.raises(OSError, match="the look failed"):
        Core._follow_part(core, ServicePart(follow=fail, seen=("x",)))
    assert followed == ["x"]
