"""Pictures that weights were trained on are known again; weights without a list say so."""

import numpy as np
import pytest

from detection.imagery.data.patches import hold_arrays
from detection.imagery.errors import ModelError
from detection.imagery.training.seen import count_seen, write_seen


def test_a_copy_of_a_picture_is_known_whatever_its_file_and_name(tmp_path):
    images = np.random.default_rng(0).random((6, 3, 8, 8)).astype(np.float32)
    patches = hold_arrays(images, np.zeros((6, 8, 8), np.uint8))
    weights, following = tmp_path / "tiny.safetensors", tmp_path / "next.safetensors"
    write_seen(weights, patches.take([3, 1]))
    copies = hold_arrays(images[::-1].copy(), np.ones((6, 8, 8), np.uint8))
    assert count_seen(weights, copies) == 2
    write_seen(following, patches.take([0]), weights)
    assert count_seen(following, copies) == 3, "and what those saw that they began from"
    (tmp_path / "next.seen.npy").write_bytes(b"torn")
    with pytest.raises(ModelError, match="no digests of pictures"):
        count_seen(following, copies)
    (tmp_path / "next.seen.npy").unlink()
    assert count_seen(following, copies) is None
