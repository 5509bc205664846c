"""Messages without the database: an outage and its end are each sent once, also across restarts."""

import os
import subprocess
import sys
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from monitor.alerts.notification import Notification
from monitor.app.checks.decisions import CoreProgress
from monitor.app.checks.table import run_checks
from monitor.app.self_monitoring import emergency
from monitor.app.self_monitoring.core_watch import LAST_LEVEL
from monitor.app.self_monitoring.emergency import DELIVERY_THREAD, NOTIFY_AFTER_S, OVER_AFTER_S, EmergencyNotifier
from monitor.app.self_monitoring.state_file import FILE_NAME, SIZE_BYTES, ChannelAddress, NoticeState, StateFile
from monitor.errors import DeliveryError
from monitor.text.message import Term, Timestamp
from tests.fixtures.waiting import wait_for

NOW = datetime(2026, 3, 1, 6, tzinfo=UTC)
ADA, BEN = ChannelAddress("ada", "log:a"), ChannelAddress("ben", "log:b")
TOLD = NoticeState("the database has accepted no writes", NOW, "what was said", (ADA, BEN), frozenset({ADA}))


def open_state(folder: Path, database_url: str = "sqlite:///x.db") -> StateFile:
    return StateFile(folder, database_url)


class Recorder:
    """Accepts messages for all channels except those in `away`, and holds a notifier that can be restarted."""

    def __init__(self, folder: Path) -> None:
        self.path, self.sent, self.away = folder / "var" / FILE_NAME, [], set()  # type: ignore[var-annotated]
        self.now_s, self.ledger = 1000.0, []  # type: ignore[var-annotated]
        self.foreign = set(threading.enumerate())
        self.start_notifier()

    def start_notifier(self) -> None:
        arguments = (
            (lambda: [ADA, BEN]),
            (lambda: ["s: green"]),
            {},
            (lambda: NOW + timedelta(seconds=self.now_s - 1000.0)),
        )
        record_notice = lambda *details: self.ledger.append(details)  # noqa: E731
        self.emergency = EmergencyNotifier(*arguments, record_notice, open_state(self.path.parent))

    def pass_time(self, seconds: float, trouble: str, *, has_decided: bool = True) -> None:
        for _ in range(round(seconds)):
            self.now_s += 1.0
            self.emergency.update(trouble, self.now_s, has_decided=has_decided)
        self.settle(len(self.away))

    def open(self, channel: str, _: object) -> "Recorder":
        self.opened = channel
        return self

    def deliver(self, notification: Notification) -> None:
        if notification.channel in self.away:
            raise DeliveryError("away")
        self.sent.append((notification.recipient, notification.subject, notification.body))

    def subjects(self, recipient: str) -> list[str]:
        return [subject for name, subject, *_ in self.sent if name == recipient]

    def settle(self, trying: int = 0) -> None:
        """Wait until the deliveries have ended, except `trying` that are repeated."""

        def count() -> int:
            new_threads = set(threading.enumerate()) - self.foreign
            return sum(thread.name in {DELIVERY_THREAD, "state-file"} for thread in new_threads)

        wait_for(lambda: count() <= trying, description="the deliveries")


@pytest.fixture
def recorder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Recorder:
    created = Recorder(tmp_path)
    monkeypatch.setattr(emergency, "open_notifier", created.open)
    monkeypatch.setattr(emergency, "RETRY_S", 0.02)
    return created


FIRST, LAST = "cannot decide: disk full", "over: decides again"


def test_outage_across_two_restarts_and_its_end_are_each_sent_once(recorder: Recorder) -> None:
    recorder.pass_time(NOTIFY_AFTER_S + 2, "disk full")
    for _ in range(2):
        recorder.start_notifier()
        recorder.pass_time(15, "", has_decided=False)  # a restarted core has not detected the outage yet
        recorder.pass_time(NOTIFY_AFTER_S + 20, "disk full, as the fresh core says")
    assert [recorder.subjects(name) for name in ("ada", "ben")] == [[FIRST], [FIRST]]
    recorder.pass_time(OVER_AFTER_S + 2, "")
    assert [recorder.subjects(name) for name in ("ada", "ben")] == [[FIRST, LAST], [FIRST, LAST]]
    assert "It was: disk full." in recorder.sent[-1][2]
    assert recorder.ledger == [("disk full", 2, 2)]
    assert not recorder.path.exists()
    recorder.start_notifier()
    recorder.pass_time(100, "")
    assert len(recorder.sent) == 4


def test_person_whose_channel_accepts_the_message_after_the_end_is_notified_of_the_end(recorder: Recorder) -> None:
    is_away, accepts = threading.Event(), threading.Event()
    deliver = recorder.deliver

    def deliver_slowly(notification: Notification) -> None:
        if notification.recipient == "ben" and notification.subject == FIRST:
            is_away.set()
            accepts.wait(60)
        deliver(notification)

    recorder.deliver = deliver_slowly  # type: ignore[method-assign]
    recorder.away = {BEN.channel}  # `pass_time` does not wait for this delivery
    recorder.pass_time(NOTIFY_AFTER_S + 2, "disk full")
    assert is_away.wait(60)
    recorder.pass_time(OVER_AFTER_S + 2, "")
    assert recorder.subjects("ada") == [FIRST, LAST]
    recorder.away = set()
    accepts.set()
    wait_for(lambda: recorder.subjects("ben") == [FIRST, LAST], description="the end for the slow channel")
    wait_for(lambda: not recorder.path.exists(), description="an empty state file")


def test_outage_that_ended_without_a_running_service_is_over_at_the_first_decision(recorder: Recorder) -> None:
    recorder.pass_time(NOTIFY_AFTER_S + 2, "disk full")
    recorder.start_notifier()
    recorder.pass_time(100, "", has_decided=False)
    assert recorder.subjects("ada") == [FIRST]
    recorder.pass_time(OVER_AFTER_S + 2, "")
    assert recorder.subjects("ada") == [FIRST, LAST]


def test_replacement_of_the_core_does_not_end_an_outage(recorder: Recorder) -> None:
    recorder.pass_time(NOTIFY_AFTER_S + 2, "disk full")
    recorder.pass_time(15, "", has_decided=False)
    recorder.pass_time(NOTIFY_AFTER_S + 20, "disk full")
    assert recorder.subjects("ada") == [FIRST]


def test_problem_interrupted_only_by_restarts_of_the_core_is_sent(recorder: Recorder) -> None:
    for _ in range(3):
        recorder.pass_time(8, "the core process stands still")
        recorder.pass_time(8, "", has_decided=False)
    assert recorder.subjects("ada") == ["cannot decide: the core process stands still"]


def test_recipient_not_reached_before_a_kill_is_notified_after_the_restart(recorder: Recorder) -> None:
    recorder.away = {BEN.channel}
    recorder.pass_time(NOTIFY_AFTER_S + 2, "disk full")
    wait_for(lambda: "ada" in recorder.path.read_text(), 5, "the file")
    recorder.emergency._over.set()  # the attempts of the killed service end
    recorder.settle()
    assert (recorder.subjects("ada"), recorder.subjects("ben")) == ([FIRST], [])
    recorder.away = set()
    recorder.start_notifier()
    recorder.pass_time(1, "disk full")
    assert (recorder.subjects("ada"), recorder.subjects("ben")) == ([FIRST], [FIRST])
    assert recorder.sent[-1][2].splitlines()[2] == "s: green"


def test_sending_of_the_end_continues_after_a_kill(recorder: Recorder) -> None:
    open_state(recorder.path.parent).store_notice(
        replace(TOLD, accepted=frozenset({ADA, BEN}), over_at=NOW, finished=frozenset({ADA}))
    )
    recorder.start_notifier()
    recorder.pass_time(1, "", has_decided=False)
    assert (recorder.subjects("ada"), recorder.subjects("ben")) == ([], [LAST])
    wait_for(lambda: not recorder.path.exists(), 5, "nothing is left to tell")


@pytest.mark.parametrize("error", [OSError("no route"), ZeroDivisionError("bug of a channel")])
def test_log_names_the_kind_of_a_failing_channel_without_its_address(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    def fail(_notification: Notification) -> None:
        raise error

    monkeypatch.setattr(recorder, "deliver", fail)
    recorder.pass_time(21, "disk full")
    messages = [record.getMessage() for record in caplog.records]
    assert any(message.startswith(f"{ADA.recipient} cannot be notified by log") for message in messages)
    assert not any(ADA.channel in message for message in messages)


@pytest.mark.parametrize("told", [TOLD, replace(TOLD, over_at=NOW, finished=frozenset({ADA}))])
def test_state_file_keeps_the_notice_and_is_readable_only_by_its_owner(tmp_path: Path, told: NoticeState) -> None:
    folder = tmp_path / "var"
    path = folder / FILE_NAME
    folder.mkdir()
    path.with_name(f"{FILE_NAME}.next").touch(0o644)  # a spare file with permissions for everybody
    open_state(folder).store_notice(TOLD)
    open_state(folder).store_notice(told)
    assert open_state(folder).read_notice() == told
    assert path.stat().st_mode & 0o777 == 0o600
    open_state(folder).store_notice(None)
    assert open_state(folder).read_notice() is None
    assert not path.exists()


def test_state_file_keeps_each_database_and_the_first_entry_apart(tmp_path: Path) -> None:
    first, second = open_state(tmp_path), open_state(tmp_path, "sqlite:///other.db")
    first.store_notice(TOLD)
    second.store_first_entry("abc")
    second.store_notice(replace(TOLD, trouble="disk full"))
    assert (first.read_notice(), first.read_first_entry()) == (TOLD, "abc")
    first.store_notice(None)
    assert (first.read_notice(), first.read_first_entry()) == (None, "abc")
    remaining = open_state(tmp_path, "sqlite:///other.db").read_notice()
    assert remaining is not None
    assert remaining.trouble == "disk full"


KEEP_ENTRIES = """
import sys
from pathlib import Path
from monitor.app.self_monitoring.state_file import StateFile

for number in range(100):
    StateFile(Path(sys.argv[1]), "sqlite:///x.db").store_first_entry(str(number))
"""


def test_concurrent_writes_to_the_state_file_lose_nothing(tmp_path: Path) -> None:
    other = subprocess.Popen([sys.executable, "-c", KEEP_ENTRIES, str(tmp_path)])
    state_file = open_state(tmp_path)
    writes = 0
    while other.poll() is None:
        state_file.store_notice(replace(TOLD, trouble=str(writes)))
        writes += 1
    assert other.returncode == 0
    assert state_file.read_first_entry() == "99"
    notice = state_file.read_notice()
    assert notice is not None
    assert notice.trouble == str(writes - 1)


def test_start_of_another_process_during_a_write_does_not_blank_the_state_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The core starts while the supervisor has written the spare file and has not renamed it yet."""
    state_file = open_state(tmp_path)
    monkeypatch.setattr(os, "fsync", lambda _: open_state(tmp_path))
    state_file.store_notice(TOLD)
    assert open_state(tmp_path).read_notice() == TOLD
    monkeypatch.undo()
    assert (tmp_path / f"{FILE_NAME}.next").stat().st_size == SIZE_BYTES


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "{",
        '{"notices": []}',
        "\x00" * 9,
        '{"notices": {"KEY": {"trouble": 1}}}',
        '{"notices": {"KEY": []}}',
        '{"notices": {"KEY": {"over_at": null, "at": "2026"}}}',
    ],
)
def test_unreadable_state_file_is_as_an_empty_one(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, content: str
) -> None:
    state_file = open_state(tmp_path)
    state_file.path.write_text(content.replace("KEY", state_file._database_key))
    assert state_file.read_notice() is None
    assert "cannot be read" in caplog.text
    state_file.store_notice(TOLD)
    assert state_file.read_notice() == TOLD


WRITE_ON_FULL_DISK = """
import sys
from dataclasses import replace
from pathlib import Path
from tests.app.test_emergency_notice import TOLD, BEN, fill, open_state

folder = Path(sys.argv[1]) / "var"
ready = open_state(folder)
fill(folder)
ready.store_notice(TOLD)
assert open_state(folder).read_notice() == TOLD, "the first"
for _ in range(3):
    fill(folder)
    ready.store_notice(replace(TOLD, accepted=frozenset({BEN})))
found = open_state(folder).read_notice()
assert found is not None and found.at == TOLD.at, "an older one at the worst"
late = open_state(folder.parent / "other")
late.store_notice(TOLD)  # without a spare file this is logged, and delays nothing
assert late.read_notice() is None
print("held")
"""


def fill(folder: Path) -> None:
    try:
        with (folder / "ballast").open("ab", buffering=0) as file:
            while file.write(b"x" * 4096) == 4096:
                pass
    except OSError:
        pass


@pytest.mark.soak
def test_state_file_can_be_replaced_on_a_full_disk(tmp_path: Path) -> None:
    script = tmp_path / "full.py"
    script.write_text(WRITE_ON_FULL_DISK)
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = f'mount -t tmpfs -o size=512k none "{disk}" || exit 99; exec "$@"'
    for unshare in (["unshare", "--mount"], ["unshare", "--map-root-user", "--mount"]):
        result = run([*unshare, "sh", "-c", mount, "sh", sys.executable, str(script), str(disk)])
        if result is not None and result.returncode != 99 and "unshare failed" not in result.stderr:
            assert result.stdout == "held\n", result.stderr
            assert "a restart during an outage repeats its notice" in result.stderr
            return
    pytest.skip("this machine allows no small disk of our own")


def run(words: list[str]) -> subprocess.CompletedProcess[str] | None:
    try:
        return subprocess.run(words, capture_output=True, text=True, check=False, timeout=250)
    except FileNotFoundError:
        return None


def test_each_recipient_is_notified_in_their_language(recorder: Recorder) -> None:
    language_by_recipient = {"ada": "it", "ben": "zh"}
    last_level = LAST_LEVEL(site="pit", level=Term("orange"), at=Timestamp.of(NOW - timedelta(minutes=1), "second"))
    mails = [ChannelAddress("ada", "email:a@example.org"), ChannelAddress("ben", "email:b@example.org")]
    arguments = (lambda: mails), (lambda: [last_level]), {}, (lambda: NOW), (lambda *_: None)
    state_file = open_state(recorder.path.parent / "other")
    recorder.emergency = EmergencyNotifier(*arguments, state_file, language_by_recipient.__getitem__)
    progress = CoreProgress(
        since_write_s=1e9,
        written_at=NOW,
        write_error="",
        evaluation_delay_s=0.0,
        evaluated_at=NOW,
        is_evaluation_expected=False,
    )
    trouble = next(result.text for result in run_checks(progress) if result.is_wrong)
    recorder.pass_time(NOTIFY_AFTER_S + 2, trouble)
    recorder.pass_time(OVER_AFTER_S + 2, "")
    recorder.settle()
    bodies = {(name, subject): body for name, subject, body in recorder.sent}
    [italian_body] = [
        body for (name, subject), body in bodies.items() if name == "ada" and subject.startswith("decisione")
    ]
    assert "il database non accetta scritture dal 2026-03-01 06:00 UTC" in italian_body
    assert "pit: livello arancione salvato l'ultima volta il 2026-03-01 05:59 UTC" in italian_body.splitlines()
    assert ("ada", "finita: decide di nuovo") in bodies
    assert any("2026-03-01 06:00 UTC" in subject and "\u65e0\u6cd5\u5224\u5b9a" in subject for _, subject in bodies)
