"""A command about one site does not fail by the file of another; it says what is wrong with that one."""

from pathlib import Path

import pytest

from monitor.cli.main import run_verb
from monitor.sites.first_site import write_first_site
from monitor.worker.scene_lock import FILE, lock_scene_results

FAULT = "configs/sites/south.toml: site.timezone"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("place")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        Path("configs/sites").mkdir(parents=True)
        for name in ("north", "south"):
            text = write_first_site(name)
            nowhere = text.replace('timezone = "', 'timezone = "Nowhere/') if name == "south" else text
            Path(f"configs/sites/{name}.toml").write_text(nowhere)
        Path("configs/slopeward.toml").write_text(f'[database]\nurl = "sqlite:///{folder}/x.db"\n')
        Path("a.csv").write_text("time,station,quantity,value\n2026-01-01T00:00:00Z,G1,rain_mm,1.0\n")
        assert run_verb(["db", "upgrade"]) == 0
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
def test_a_command_about_one_site_does_not_fail_by_the_file_of_another(place, words, status, is_said, capsys):
    assert run_verb(words.split()) == status
    assert (f"warning: {FAULT}" in capsys.readouterr().err) is is_said


def test_it_fails_by_its_own(place, capsys):
    assert run_verb(["ingest", "a.csv", "--site", "south"]) == 1
    assert FAULT in capsys.readouterr().err


def test_the_lock_of_a_site_s_scenes_is_for_its_owner_alone(tmp_path):
    with lock_scene_results(tmp_path / "scenes", wait=True) as held:
        assert held
        assert (tmp_path / "scenes" / FILE).stat().st_mode & 0o777 == 0o600
