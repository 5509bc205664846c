"""`slopeward people duty`: a plan from the input, a swap, what it shows, and a calendar that programs read."""

import io
import json
from datetime import UTC, datetime, timedelta

import pytest

from monitor.cli.main import run_verb
from monitor.domain.alert import SERVICE
from monitor.store.alerting.sites import save_site
from monitor.store.people.users import add_user
from tests.data.store_rows import tell
from tests.data.watched_slope import write_service
from tests.integration.notify.test_duty import SITE

WORDS = "tin lantern quarry 41"
PLAN = "daily 00:00 R. Mori, A. Rossi\nSun 00:30 nobody\n"


@pytest.fixture
def call(database, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("SLOPEWARD_CONFIG", str(write_service(tmp_path, database)))
    tell(database, save_site, SITE, SERVICE.name, "test", datetime.now(UTC))

    def run(*words, text=""):
        monkeypatch.setattr("sys.stdin", io.StringIO(text))
        status = run_verb(["people", "duty", *words])
        said = capsys.readouterr()
        return status, said.out, said.err

    return run


def test_a_plan_and_a_swap(call):
    who = ("--by", "ada", "--reason", "spring")
    assert "no plan: messages go to all of the team" in call("show", "bench")[1]
    status, out, err = call("plan", "bench", "-", *who, text=PLAN)
    assert (status, out[:20]) == (0, "plan 1 of geologists"), err
    until = (datetime.now(UTC) + timedelta(days=2)).strftime("%Y-%m-%dT%H:%MZ")
    assert call("swap", "bench", "--out", "r. mori", "--in", "L. Frei", "--until", until, *who)[0] == 0
    facts = json.loads(call("show", "bench", "--days", "9", "--json")[1])
    assert facts["plan"] == PLAN.strip()
    assert (facts["lead"], [(k["out"], k["in"]) for k in facts["changes"]]) == ("L. Frei", [("R. Mori", "L. Frei")])
    assert [] in [s["people"] for s in facts["shifts"]]
    status, out, _ = call("show", "bench")
    assert "change 1:" in out
    assert "nobody (messages go to all of the team)" in out
    assert call("withdraw", "bench", "1", *who)[0] == 0
    assert json.loads(call("show", "bench", "--json")[1])["changes"] == []


def test_a_watch_is_handed_over_by_two_at_the_command_line(call, database, monkeypatch):
    with database.write() as c:
        for name, role in (("ada", "admin"), ("bo", "operator")):
            add_user(c, name, WORDS, role, datetime.now(UTC) - timedelta(days=3))
    monkeypatch.setenv("SLOPEWARD_BY_PASSWORD", WORDS)
    assert call("plan", "bench", "-", "--by", "ada", "--reason", "spring", text=PLAN)[0] == 0
    status, out, _ = call("hand-over", "show", "bench")
    assert (status, "no hand-over waits" in out, "level: not evaluated" in out) == (0, True, True)
    assert call("hand-over", "sign", "bench", "1", "--by", "bo")[0] == 1
    notes = "crack above bench 3\nG1 is noisy"
    status, out, err = call("hand-over", "write", "bench", "--notes", "-", "--by", "ada", "--json", text=notes)
    assert (status, json.loads(out)) == (0, {"handover_id": 1, "outgoing": "ada", "team": "geologists"}), err
    out = call("hand-over", "show", "bench")[1]
    assert "  crack above bench 3\n  G1 is noisy\n" in out
    assert "who comes signs: slopeward people duty hand-over sign bench 1 --by NAME" in out
    assert "waits for who comes" in call("hand-over", "write", "bench", "--notes", "again", "--by", "bo")[2]
    assert "a second person is needed" in call("hand-over", "sign", "bench", "1", "--by", "ada")[2]
    assert "is that of ada" in call("hand-over", "withdraw", "bench", "1", "--by", "bo", "--reason", "mine")[2]
    status, out, err = call("hand-over", "sign", "bench", "1", "--by", "bo", "--remark", "read")
    assert (status, out) == (0, "hand-over 1: ada hands the watch of geologists over to bo\n"), err
    facts = json.loads(call("hand-over", "show", "bench", "--json")[1])
    assert facts["waiting"] == []
    (one,) = facts["signed"]
    assert (one["outgoing"], one["incoming"], one["remark"], one["notes"]) == ("ada", "bo", "read", notes)
    assert one["since"] is not None
    assert "is signed already" in call("hand-over", "withdraw", "bench", "1", "--by", "ada", "--reason", "late")[2]
    assert call("hand-over", "write", "bench", "--notes", "quiet", "--by", "bo")[0] == 0
    assert call("hand-over", "withdraw", "bench", "2", "--by", "bo", "--reason", "not yet")[0] == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("plan", "bench", "-", "--by", "ada", "--reason", "ill"), "one line at least"),
        (("plan", "bench", "/nowhere", "--by", "ada", "--reason", "ill"), "No such file"),
        (("swap", "bench", "--out", "R. Mori", "--until", "never", "--by", "ada", "--reason", "ill"), "a local time"),
        (("swap", "bench", "--in", "Q", "--until", "2099-01-01 08:00", "--by", "a", "--reason", "ill"), "at most 92"),
        (("show", "bench", "--team", "others"), "has no team 'others'; it has: geologists"),
        (("show", "elsewhere"), "no site 'elsewhere'"),
        (("hand-over", "write", "bench", "--notes", " ", "--by", "ada"), "what who comes must know"),
        (("hand-over", "write", "bench", "--notes", "x" * 4001, "--by", "ada"), "at most 4000"),
        (("hand-over", "sign", "bench", "9", "--by", "ada"), "has no hand-over 9"),
        (("hand-over", "show", "elsewhere"), "no site 'elsewhere'"),
        (("withdraw", "bench", "9", "--by", "ada", "--reason", "ill"), "site bench has no change 9"),
    ],
)
def test_what_cannot_be_done_is_one_line(call, words, said):
    status, _, err = call(*words)
    assert status == 1
    assert said in err
    assert "Traceback" not in err
