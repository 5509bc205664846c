"""`slopeward people users totp`: as on the page a first code makes it count, and codes for a lost telephone come."""

import os
import pty
import re
import subprocess
import sys
from datetime import UTC, datetime

import pytest

from monitor.store.people.second_factor import RECOVERY_CODES, STEP_S, code_of, has_second_factor, remove_second_factor
from monitor.store.people.users import add_user
from tests.data.store_rows import ask, tell
from tests.integration.cli.test_identity import WORDS, accounts, bench, call, entries  # noqa: F401 - fixtures


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # the key of the vault lies in `paths.state`


def code_for(address):
    secret = re.search(r"secret=([A-Z2-7]{32})&", address)[1]
    return code_of(secret, int(datetime.now(UTC).timestamp()) // STEP_S)


def asks(slope, name="Ada"):
    return ask(slope.database, has_second_factor, name)


def test_it_counts_from_its_first_code_on_and_gives_codes_for_a_lost_telephone(accounts, call):  # noqa: F811
    status, address, told = call("people", "users", "totp", "Ada", who="Ada")
    assert (status, address.startswith("otpauth://totp/Slopeward:Ada?")) == (0, True)
    assert "slopeward people users totp Ada --code 123456" in told
    assert not asks(accounts), "it asks for nothing before a first code was seen"
    status, _, told = call("people", "users", "totp", "Ada", "--code", "12345", who="Ada")
    assert (status, "the code is wrong" in told, asks(accounts)) == (1, True, False)
    status, out, told = call("people", "users", "totp", "Ada", "--code", code_for(address), who="Ada")
    assert (status, asks(accounts), len(set(out.split()))) == (0, True, RECOVERY_CODES)
    assert "each lets in once" in told
    assert not [code for code in out.split() if code in str(entries(accounts, "user.totp"))]
    # another one, and none, is an admin's: who knows the password alone does not do away with it
    assert call("people", "users", "totp", "Ada", who="Ada")[0] == 1
    tell(accounts.database, add_user, "Root-1", WORDS["Root-1"], "admin", datetime.now(UTC))
    assert "take it away first" in call("people", "users", "totp", "Ada", who="Root-1")[2]
    assert call("people", "users", "totp-off", "Ada", who="Ada")[0] == 1
    assert call("people", "users", "totp-off", "Ada", who="Root-1")[0] == 0
    assert not asks(accounts)
    assert call("people", "users", "totp", "Ada", "--code", code_for(address), who="Ada")[0] == 1, (
        "nothing waits for a code"
    )


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_at_a_terminal_the_first_code_is_asked_for(accounts):  # noqa: F811
    ours, theirs = pty.openpty()
    command = [
        sys.executable,
        "-c",
        "from monitor.cli.main import main; main()",
        "people",
        "users",
        "totp",
        "Ada",
        "--by",
        "Ada",
    ]
    path = os.pathsep.join(p for p in sys.path if p)
    env = {**os.environ, "SLOPEWARD_BY_PASSWORD": WORDS["Ada"], "PYTHONPATH": path}
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=env) as running:
        os.close(theirs)
        seen = b""
        while b"The code that it shows now:" not in seen:
            seen += os.read(ours, 4096)
        os.write(ours, code_for(seen.decode()).encode() + b"\n")
        seen = b""
        while seen.count(b"\r\n") < 2 + RECOVERY_CODES:  # the code itself, the sentence, the codes
            seen += os.read(ours, 4096)
    os.close(ours)
    assert running.returncode == 0
    assert len(re.findall(rb"^[a-z2-7]{4}(?:-[a-z2-7]{4}){3}\r?$", seen, re.MULTILINE)) == RECOVERY_CODES
    assert asks(accounts)
    tell(accounts.database, remove_second_factor, "Ada")
