"""Names of others reach a terminal as text: they neither steer it nor turn a line round."""

import os
import subprocess
import sys

import pytest

from monitor.cli.printable import make_printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\x1b[2J\x1b[1;1Hb", r"a\x1b[2J\x1b[1;1Hb"),
        ("\x1b[8mhidden", r"\x1b[8mhidden"),
        ("\x9b2Jx\x7f", r"\x9b2Jx\x7f"),
        ("a\rb", r"a\rb"),
        ("\rrows 5", "\rrows 5"),
        ("Hang Süd, 监测 ‑ 5\u202f°C\n", "Hang Süd, 监测 ‑ 5\u202f°C\n"),
        ("\udcff.csv", r"\udcff.csv"),
    ],
)
def test_what_steers_is_spelled_out_and_words_are_not(text, shown):
    assert make_printable(text) == shown


def test_a_file_name_with_control_characters_does_not_reach_the_terminal(tmp_path):
    name = "a\x1b]0;owned\x07\x1b[2J.csv"
    (tmp_path / name).write_text("time,station,quantity,value\nx\x1b[3J,G\x07,rain_mm,1\n")
    mine, theirs = os.openpty()
    command = [sys.executable, "-m", "monitor.cli.main", "ingest", name, "--dry-run"]
    done = subprocess.Popen(command, cwd=tmp_path, stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs)
    os.close(theirs)
    said = b""
    try:
        while part := os.read(mine, 4096):
            said += part
    except OSError:  # the other end is closed
        pass
    assert done.wait(60) == 4
    assert rb"a\x1b]0;owned\x07\x1b[2J.csv" in said
    assert not set(b"\x1b\x07") & set(said)
