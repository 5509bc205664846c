"""`slopeward scenes detect --cracks` without a package that finds cracks."""

from monitor.cli.main import run_command
from monitor.features.scenes.cli import detect


def test_without_a_package_the_option_names_what_to_install(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(detect, "implementations", lambda _hook: [])
    assert (
        run_command(["scenes", "detect", str(tmp_path / "scene.tif"), "--out", str(tmp_path / "out"), "--cracks"]) == 1
    )
    assert capsys.readouterr().err == (
        "`slopeward scenes detect --cracks` needs slopeward-lab, which is not installed: "
        "pip install 'slopeward[lab]' (/help/how-to/install on the page)\n"
    )
