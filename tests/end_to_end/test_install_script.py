"""`deploy/install.sh` below a folder of its own: installed twice, upgraded with a copy of the data, removed, purged."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from monitor.config.service import load_service

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "deploy/install.sh"
# in place of locks/install.sh, which would download for minutes: the program of this checkout
INSTALLER = f"""#!/bin/sh
echo "$2 $3 $4 $5" >> "$LOG"
case "$1" in *.venv.new/*) ;; *) echo "$1 may run" >&2; exit 1 ;; esac
[ "$3" != broken ] || exit 1
printf "#!$(dirname "$1")/python\\n" > "$(dirname "$1")/alembic"
printf '#!/bin/sh\\nPYTHONPATH={ROOT} exec {sys.executable} -m monitor.cli.main "$@"\\n' > "$(dirname "$1")/slopeward"
chmod +x "$(dirname "$1")/slopeward"
"""


@pytest.fixture
def call(tmp_path):
    python = tmp_path / "root/opt/slopeward/.venv/bin/python"
    python.parent.mkdir(parents=True)
    python.symlink_to(sys.executable)  # as `python3 -m venv` would leave it
    installer = tmp_path / "installer"
    installer.write_text(INSTALLER)
    installer.chmod(0o755)
    given = {"DESTDIR": str(tmp_path / "root"), "INSTALLER": str(installer), "LOG": str(tmp_path / "log")}

    def run(*words):
        done = subprocess.run([SCRIPT, *words], env={**os.environ, **given}, capture_output=True, text=True)
        return done.returncode, done.stdout + done.stderr

    return run


def test_install_upgrade_and_uninstall(call, tmp_path):
    root = tmp_path / "root"
    config, unit = root / "etc/slopeward/slopeward.toml", root / "etc/systemd/system/slopeward.service"
    status, said = call("install")
    assert status == 0, said
    assert said.count("wrote") == 2
    assert "write a site file, then start" in said
    assert load_service(config).paths.sites == Path("/etc/slopeward/sites")
    assert (root / "etc/slopeward/secrets.env").stat().st_mode & 0o777 == 0o600
    start = re.search(r"^ExecStart=(\S+)", unit.read_text(), re.MULTILINE)[1]
    assert os.access(root / start.lstrip("/"), os.X_OK), "what the unit starts is there"
    assert (root / "usr/local/bin/slopeward").readlink() == Path(start)

    # once more: nothing changes, and what people wrote stays
    config.write_text(config.read_text().replace("port = 8080", "port = 8090"))
    status, said = call("install", "models")
    assert (status, said.count("wrote")) == (0, 0), said
    assert load_service(config).web.port == 8090
    assert (tmp_path / "log").read_text().split("\n")[:2] == ["core cap postgresql reports", "core models  "]

    # packages that cannot be had leave what runs, a unit that changed is replaced
    for verb in ("install", "upgrade"):
        status, said = call(verb, "broken")
        assert (status, "what runs goes on" in said, "systemctl stop" in said) == (1, True, False), said
    venv = root / "opt/slopeward/.venv"
    assert (venv / "bin/alembic").read_text() == f"#!{venv}/bin/python\n", "where it ends, not where it was made"
    assert [path.name for path in venv.parent.iterdir()] == [".venv"]
    state = root / "var/lib/slopeward"
    state.mkdir(parents=True)
    program = root / "opt/slopeward/.venv/bin/slopeward"
    subprocess.run([program, "db", "upgrade", "--config", config], cwd=state, check=True, capture_output=True)
    unit.write_text("old")
    status, said = call("upgrade")
    assert status == 0, said
    assert "not run here: systemctl stop slopeward" in said
    assert unit.read_text() != "old"
    assert len(list(state.glob("slopeward-*Z.db"))) == 1, "a copy from before"
    (state / "slopeward.db").write_text("no database")
    assert call("upgrade")[0] == 1
    assert "broken" in (tmp_path / "log").read_text()
    assert (tmp_path / "log").read_text().split()[-1] == "reports", "without a copy nothing is touched"

    assert call("uninstall")[0] == 0
    assert not unit.exists()
    assert not program.exists()
    assert config.exists()
    assert state.exists()
    assert "nothing is installed" in call("upgrade")[1]
    assert call("uninstall", "--purge")[0] == 0
    assert not config.parent.exists()
    assert not state.exists()


def test_a_prefix_of_ones_own_and_wrong_words(call, monkeypatch, tmp_path):
    monkeypatch.setenv("PREFIX", "/srv/slope")
    python = tmp_path / "root/srv/slope/.venv/bin/python"
    python.parent.mkdir(parents=True)
    python.symlink_to(sys.executable)
    assert call("install")[0] == 0
    assert (
        "ExecStart=/srv/slope/.venv/bin/slopeward"
        in (tmp_path / "root/etc/systemd/system/slopeward.service").read_text()
    )
    assert call("remove")[0] == 2
    status, said = call()
    assert (status, "install [EXTRA...]" in said) == (0, True)
