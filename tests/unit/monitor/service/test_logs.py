"""Lines of the log: one for each record, without passwords."""

import logging

from monitor.domain.logs import configure


def test_what_others_wrote_begins_no_line_and_no_password_stands_in_a_traceback(capsys):
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    try:
        configure("core")
        logging.getLogger("a").warning(
            "report: %s", "rock\n2026-03-01T06:00:00.000Z INFO core a: all is well\x1b[2J\udcff"
        )
        try:
            raise RuntimeError("cannot reach amqps://ada:hunter2@host/x")
        except RuntimeError:
            logging.getLogger("a").exception("failed")
    finally:
        root.handlers[:], _ = before, root.setLevel(level)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].endswith(r"a: report: rock\n2026-03-01T06:00:00.000Z INFO core a: all is well\x1b[2J\udcff")
    assert lines[1].endswith("ERROR core a: failed")
    assert lines[-1] == "RuntimeError: cannot reach amqps://ada:***@host/x"
