"""What the shell offers is what the program has, and the one screen shows what is open."""

import subprocess

import pytest

from monitor.cli.main import VERBS, run_verb
from monitor.cli.rules import RULES


@pytest.fixture
def script(tmp_path, capsys):
    assert run_verb(["completion", "bash"]) == 0
    path = tmp_path / "slopeward.bash"
    path.write_text(capsys.readouterr().out)
    return path


def test_the_shell_offers_verbs_commands_and_options(script):
    def offer(*words):
        typed = " ".join(f"'{word}'" for word in ("slopeward", *words))
        asked = f'source {script}; COMP_WORDS=({typed}); COMP_CWORD={len(words)}; _slopeward; echo "${{COMPREPLY[@]}}"'
        return set(subprocess.run(["bash", "-c", asked], capture_output=True, text=True, check=True).stdout.split())

    assert offer("") >= {*VERBS, "--help"}
    assert offer("al") == {"alerts"}
    assert offer("alerts", "ex") == {"explain", "export"}
    assert "--recompute" in offer("alerts", "explain", "7", "--")
    assert offer("--json", "alerts", "lis") == {"list"}
    assert offer("export", "north-bench", "observations", "--fo") == {"--format", "--force"}
    assert offer("nonsense", "x") == set()
    for command in RULES:
        *path, last = command.split()
        assert last in offer(*path, last), command


@pytest.mark.parametrize("filled_database", ["sqlite"], indirect=True)
def test_one_screen_shows_slopes_and_what_is_open(filled_database, monkeypatch, capsys):
    monkeypatch.setenv("SLOPEWARD_DATABASE__URL", filled_database.url.render_as_string(hide_password=False))
    assert run_verb(["top", "--once"]) == 0
    said = capsys.readouterr().out
    lines = said.splitlines()
    assert any(line.startswith("north-bench") and "orange" in line for line in lines)
    reasons = [line for line in lines if line.split(" ")[0].isdigit()]
    assert ["G1 moves 21.4" in reasons[0], "W1 is silent" in reasons[1], "unlike itself" in reasons[2]] == [True] * 3
    assert "2 messages not delivered" in said
