"""Boxes as points: drawn and read again they are the same; the better the answer the less it costs; AP50 is exact."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from detection.imagery.data.boxes import ap50, box_map, compare_boxes, draw_ap50, find_boxes, match, overlap
from detection.imagery.data.catalogue import open_data
from detection.imagery.data.patches import hold_arrays
from detection.imagery.errors import ModelError, RecipeError
from detection.imagery.neural.box_training import begin_from, predict_boxes, train_boxes
from detection.imagery.neural.centres import CELL_PX, centre_loss, draw_targets, read_boxes, spread_cells
from detection.imagery.neural.checkpoint import load_model
from detection.imagery.neural.learner import Settings
from detection.imagery.registry import build, find_entry
from detection.imagery.training.evaluation import score_weights
from detection.imagery.training.explain import explain_patch
from detection.imagery.training.recipe import run_recipe
from detection.imagery.training.recipe_file import read_recipe
from detection.imagery.training.seen import count_seen, write_seen
from tests.data.tiny_recipe import tiny


@pytest.fixture(autouse=True)
def single_thread(one_torch_thread):
    pass


def draw(*boxes, side=64):
    mask = np.zeros((side, side), np.uint8)
    for left, top, right, bottom in boxes:
        mask[top:bottom, left:right] = 1
    return mask


def answer_of(mask):
    """What a perfect network says of a mask."""
    heat, facts = draw_targets(mask, *(side // CELL_PX for side in mask.shape))
    odds = np.log(np.clip(heat, 1e-4, 1 - 1e-4) / (1 - np.clip(heat, 1e-4, 1 - 1e-4)))
    return torch.from_numpy(np.concatenate([odds[None], facts[:4]]))


corners = st.tuples(st.integers(0, 20), st.integers(0, 20), st.integers(4, 40), st.integers(4, 40))


@given(corners)
def test_a_box_that_is_drawn_is_read_again(corner):
    left, top, width, height = corner
    box = (left, top, left + width, top + height)
    (score, found), *rest = read_boxes(answer_of(draw(box)), 64, 64)
    assert score > 0.99
    assert found == pytest.approx(box, abs=1e-4)
    assert all(other < score for other, _ in rest)


@given(st.integers(1, 30), st.integers(1, 30))
def test_within_the_spread_a_moved_box_overlaps_as_it_should(width, height):
    spread = spread_cells(height, width)
    assert overlap((0, 0, width, height), (spread, spread, width + spread, height + spread)) >= 0.7 - 1e-9
    grown = (-spread, -spread, width + spread, height + spread)
    assert overlap((0, 0, width, height), grown) >= 0.7 - 1e-9
    assert overlap((0, 0, width, height), (spread, spread, width - spread, height - spread)) >= 0.7 - 1e-9


def test_the_loss_falls_as_the_answer_gets_better_and_has_a_gradient():
    masks = np.stack([draw((8, 8, 30, 20), (40, 40, 60, 60)), draw()])
    truth = torch.from_numpy(masks).long()
    right = torch.stack([answer_of(mask) for mask in masks])
    moved = torch.stack([answer_of(np.roll(mask, 9, axis=1)) for mask in masks])
    nothing = torch.zeros_like(right)
    assert centre_loss(right, truth) < centre_loss(moved, truth)
    assert centre_loss(right, truth) < centre_loss(nothing, truth)
    nothing.requires_grad_()
    centre_loss(nothing, truth).backward()
    assert torch.isfinite(nothing.grad).all()
    # size and place cost at the middles alone
    assert np.count_nonzero(nothing.grad[:, 1:].numpy()) <= 2 * 4


def test_average_precision_of_boxes_is_that_of_the_overlap():
    truth = find_boxes(draw((0, 0, 10, 10), (30, 30, 50, 50)))
    assert truth == [(0, 0, 10, 10), (30, 30, 50, 50)]
    all_found = match([(0.9, (0, 0, 10, 9)), (0.5, (30, 30, 50, 49)), (0.4, (30, 30, 50, 50))], truth)
    assert all_found == ([(0.9, True), (0.5, True), (0.4, False)], 2)
    assert ap50([all_found]) == 1.0
    half = match([(0.9, (0, 0, 10, 4)), (0.5, (30, 30, 50, 50))], truth)
    assert ap50([half]) == pytest.approx(0.25)
    assert ap50([([], 0)]) is None
    told = compare_boxes([all_found] * 8, [half] * 8)
    assert told["difference"] == {"ap50": 0.75, "interval": [0.75, 0.75]}
    assert told["carries"]
    assert not compare_boxes([all_found, half], [all_found, half])["carries"]
    assert draw_ap50([half] * 3) == {"ap50": 0.25, "interval": [0.25, 0.25]}


def test_a_map_s_boxes_leave_out_specks_and_rank_by_probability():
    probabilities = np.zeros((20, 20))
    probabilities[0:4, 0:4], probabilities[10:14, 10:15], probabilities[18:20, 18:20] = 0.6, 0.9, 1.0
    assert box_map(probabilities, 0.5) == [
        (pytest.approx(0.9), (10, 10, 15, 14)), (pytest.approx(0.6), (0, 0, 4, 4)),
    ]  # fmt: skip
    assert box_map(probabilities * 0, 0.5) == []


def test_a_detector_learns_four_squares_by_heart_and_tells_them_in_native_pixels():
    rng = np.random.default_rng(0)
    masks = np.stack([draw((8 * k, 8, 8 * k + 24, 40)) for k in range(4)] * 2)
    images = (0.3 * masks[:, None] + 0.05 * rng.random((8, 3, 64, 64))).astype(np.float32)
    patches = hold_arrays(images, masks, ("B4", "B3", "B2"))
    settings = Settings(
        seed=1, network="centernet", width=0.0625, epochs=24, batch=4, learning_rate=1e-2, turns=False, shift=0.0,
    )  # fmt: skip
    parts = np.arange(8), np.arange(8)
    trained = train_boxes(patches, settings, parts=parts)
    assert trained.held_f1 == 1.0
    again = train_boxes(patches, replace(settings, epochs=2), parts=parts)
    assert train_boxes(patches, replace(settings, epochs=2), parts=parts).history == again.history
    statistics = np.array(trained.mean, np.float32), np.array(trained.std, np.float32)
    twice = hold_arrays(images.repeat(2, 2).repeat(2, 3), masks.repeat(2, 1).repeat(2, 2), patches.bands)
    for found, mask in zip(predict_boxes(trained.network, twice, statistics, 64), masks, strict=True):
        (true,) = find_boxes(mask)
        assert overlap(found[0][1], tuple(2 * value for value in true)) > 0.5


def test_the_encoder_of_shipped_weights_is_gone_on_with():
    begun = load_model("bijie").network
    network = build("centernet", 3, 2, 0.25)
    taken = begin_from(network, begun)
    assert taken == sum(1 for name in network.state_dict() if not name.startswith("heads."))
    assert torch.equal(network.encoder[4][1][0].weight, begun.encoder[4][1][0].weight)
    with pytest.raises(RecipeError, match="no unet of the same width"):
        begin_from(build("centernet", 3, 2, 0.125), build("linknet", 3, 2, 0.125))


def test_a_recipe_of_boxes_makes_weights_that_can_be_scored_but_draw_no_map(tmp_path):
    text = tiny(12, 6, 1) + 'network = "centernet"\n'
    (tmp_path / "tiny.toml").write_text(text)
    card = run_recipe(read_recipe(tmp_path / "tiny.toml"), tmp_path / "tiny.safetensors")
    assert set(card["metrics"]["test"]) == {"ap50", "recall", "precision", "boxes"}
    assert card["metrics"]["chosen_on"].startswith("epoch and score")
    assert "accuracy" not in (tmp_path / "tiny.md").read_text()
    told = score_weights(str(tmp_path / "tiny.safetensors"), None)
    assert told["ap50"] == pytest.approx(card["metrics"]["test"]["ap50"], abs=1e-4)
    assert (told["images"], told["trained_on"]) == (6, 0)
    train, test = open_data(card["data"]["recipe"], tuple(card["bands"]), card["training"]["seed"], None)
    images = np.stack([patch.image for patch in [*train.take([3, 1]), *test]])
    copies = hold_arrays(images, np.zeros((8, *images.shape[2:]), np.uint8))
    assert count_seen(tmp_path / "tiny.safetensors", copies) == 2, "whatever their file and name"
    write_seen(tmp_path / "next.safetensors", test.take([0]), tmp_path / "tiny.safetensors")
    assert count_seen(tmp_path / "next.safetensors", copies) == 3, "and what those saw that they began from"
    (tmp_path / "next.seen.npy").write_bytes(b"torn")
    with pytest.raises(ModelError, match="no digests of pictures"):
        count_seen(tmp_path / "next.safetensors", copies)
    (tmp_path / "next.seen.npy").unlink()
    assert count_seen(tmp_path / "next.safetensors", copies) is None
    with pytest.raises(ModelError, match="draws boxes and no map"):
        find_entry(card["network"]["name"])
    with pytest.raises(ModelError, match="draws boxes and no map"):
        explain_patch(str(tmp_path / "tiny.safetensors"), None, "0", tmp_path / "why.png")
