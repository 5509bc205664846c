"""A command about one site works although the file of another site is invalid, and warns about that file."""

from pathlib import Path

import pytest

from monitor.cli.main import run_command
from monitor.sites.first_site import write_first_site
from monitor.worker.scene_lock import FILE, lock_scene_results

FAULT = "configs/sites/south.toml: site.timezone"


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    folder = tmp_path_factory.mktemp("place")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        Path("configs/sites").mkdir(parents=True)
        for name in ("north", "south"):
            text = write_first_site(name)
            site_text = text.replace('timezone = "', 'timezone = "Nowhere/') if name == "south" else text
            Path(f"configs/sites/{name}.toml").write_text(site_text)
        Path("configs/slopeward.toml").write_text(f'[database]\nurl = "sqlite:///{folder}/x.db"\n')
        Path("a.csv").write_text("time,station,quantity,value\n2026-01-01T00:00:00Z,G1,rain_mm,1.0\n")
        assert run_command(["db", "upgrade"]) == 0
        yield folder


@pytest.mark.parametrize(
    ("words", "status", "is_said"),
    [
        ("notify channels list", 0, True),
        ("notify channels test --channel log:desk", 0, False),
        ("ingest a.csv --site north --dry-run", 0, True),
        ("ingest a.csv --site north", 0, True),
        ("status", 6, False),
        ("alerts list --site north", 4, False),
        ("maintenance list --site north", 4, False),
    ],
)
def test_command_about_one_site_works_although_another_site_file_is_invalid(project, words, status, is_said, capsys):
    assert run_command(words.split()) == status
    assert (f"warning: {FAULT}" in capsys.readouterr().err) is is_said


def test_command_fails_if_its_own_site_file_is_invalid(project, capsys):
    assert run_command(["ingest", "a.csv", "--site", "south"]) == 1
    assert FAULT in capsys.readouterr().err


def test_lock_of_scene_results_is_readable_only_by_its_owner(tmp_path):
    with lock_scene_results(tmp_path / "scenes", wait=True) as is_locked:
        assert is_locked
        assert (tmp_path / "scenes" / FILE).stat().st_mode & 0o777 == 0o600
