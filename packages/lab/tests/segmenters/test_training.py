"""Training of networks of this package: drop-out, and patches that are too small for a network."""

import pytest

from monitor.cli.main import run_command
from packages.lab.tests.data.tiny_recipe import tiny
from tests.detection.imagery.training.test_training import check_resumed_training, patches  # noqa: F401 - a fixture

pytestmark = pytest.mark.usefixtures("one_torch_thread")


@pytest.mark.soak
def test_a_training_with_drop_out_is_resumed(patches, tmp_path):  # noqa: F811 - a fixture
    check_resumed_training(patches, tmp_path, "deeplabv3plus-mobilenetv2")


def test_patches_too_small_for_the_network_are_warned_of(tmp_path, capsys):
    small = tiny(5, 6, 1).replace("epochs = 1", 'epochs = 1\nnetwork = "scdnn"')
    (tmp_path / "small.toml").write_text(small.replace("width = 0.0625", "width = 0.03125"))
    out = tmp_path / "small.safetensors"
    assert run_command(["scenes", "train", "--recipe", str(tmp_path / "small.toml"), "--out", str(out)]) == 0
    doubt = "patches of 48 px are small for scdnn: below 304 px its widest convolutions see little but padding"
    assert f"warning: {doubt}\n" in capsys.readouterr().err
    assert f"- Limit: P{doubt[1:]}." in out.with_suffix(".md").read_text()
