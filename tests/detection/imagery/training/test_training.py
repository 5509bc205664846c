"""Training: the same again to the last bit, also after a kill; every choice is made on the held part."""

import itertools
import os
import shutil
import signal
from contextlib import suppress
from dataclasses import replace

import numpy as np
import pytest
import torch

from detection.imagery.data.augment import zoom
from detection.imagery.data.generate import draw_patches
from detection.imagery.data.patches import IGNORED, make_patches
from detection.imagery.errors import ModelError, OtherRunError, TrainingPausedError, TrainingRecipeError
from detection.imagery.neural.calibration import THRESHOLDS, choose_threshold, fit_temperature
from detection.imagery.neural.inference import Segmenter
from detection.imagery.neural.learner import Hooks, ImageryTrainingSettings, vary
from detection.imagery.neural.losses import TERMS, make_loss
from detection.imagery.neural.model_file import load_model
from detection.imagery.neural.training import evaluate, train_patches
from detection.imagery.neural.triage_training import (
    THRESHOLD_MOST,
    evaluate_triage,
    predict_tiles,
    train_triage,
)
from detection.imagery.registry import build
from detection.imagery.training.domain import INTERPOLATED, NOISY
from detection.imagery.training.steadiness import find_cost
from detection.imagery.weights_file import WEIGHTS_FOLDER, list_shipped, weights_path
from detection.reasons import Reason
from monitor.cli.training import catch_stop_signals
from tests.tables import tabulated

SHIPPED = [path.stem for path in list_shipped()]
SETTINGS = {"seed": 5, "width": 0.0625, "epochs": 3, "batch": 4, "warmup_steps": 2, "blank_share": 0.2}
QUICK = ImageryTrainingSettings(**SETTINGS, held_share=0.25)


pytestmark = pytest.mark.usefixtures("one_torch_thread")


@pytest.fixture(scope="module")
def patches():
    return make_patches(*draw_patches(3, 21, 32, ("B4", "B3", "B2")))


def same(one, other):
    pairs = zip(one.network.state_dict().values(), other.network.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def check_resumed_training(patches, tmp_path, network, **more):
    """Check that a training that is stopped and resumed ends with the weights of one without a stop.

    The last batch has one patch and is dropped.
    """
    settings = replace(QUICK, network=network, epochs=2, held_share=4 / 21, **more)
    whole = train_patches(patches, settings)
    steps = []
    for stop in (1, 4, 3):  # within the first epoch, at its end, within the second
        left = itertools.count(stop, -1)
        hooks = Hooks(steps.append, lambda left=left: next(left) == 1, tmp_path / "run.place", resume=True)
        with suppress(TrainingPausedError):
            train_patches(patches, settings, hooks)
        assert (tmp_path / "run.place").exists()
    resumed = train_patches(patches, settings, Hooks(checkpoint=tmp_path / "run.place", resume=True))
    assert resumed.history == whole.history
    assert same(resumed, whole)
    assert (resumed.threshold, resumed.calibration) == (whole.threshold, whole.calibration)
    assert max(progress.step for progress in steps) == 4  # 17 patches by 4


@pytest.mark.soak
def test_run_stopped_anywhere_resumes_to_the_same_history(patches, tmp_path):
    check_resumed_training(patches, tmp_path, "unet")


@pytest.mark.soak
def test_run_with_mean_weights_and_zoomed_patches_resumes_to_the_same_history(patches, tmp_path):
    more = {"averaging": 0.9, "encoder_rate": 0.4, "schedule": "one-cycle"}
    check_resumed_training(patches, tmp_path, "unet", **more, scale=0.3, move=0.1)


@pytest.mark.soak
def test_mean_weights_are_kept_and_the_encoder_learns_more_slowly(patches):
    plain = train_patches(patches, replace(QUICK, learning_rate=0.02))
    averaged = train_patches(patches, replace(QUICK, learning_rate=0.02, averaging=0.9))
    slow = train_patches(patches, replace(QUICK, learning_rate=0.02, encoder_rate=1e-6))

    def moved(trained, head):
        torch.manual_seed(QUICK.seed)
        fresh = build("unet", 3, 2, QUICK.width).state_dict()
        return sum(
            float((value.detach() - fresh[key]).abs().sum())
            for key, value in trained.network.named_parameters()
            if key.startswith(head)
        )

    assert not same(plain, averaged)
    assert moved(slow, "encoder.") < 1e-3 * moved(plain, "encoder.")
    assert moved(slow, "decoder.") > 0.1 * moved(plain, "decoder.")


def test_a_patch_of_another_scale_keeps_its_truth_in_place():
    rng = np.random.default_rng(4)
    rows, columns = np.indices((64, 64))
    inside = np.hypot(rows - 31.5, columns - 31.5) < 20
    image = inside[None].astype(np.float32)
    how = ImageryTrainingSettings(scale=0.35, move=0.1)
    sizes = []
    for _ in range(20):
        values, truth = zoom(image, inside.astype(np.int64), how, rng)
        assert values.shape == image.shape
        assert np.mean((values[0] > 0.5) == (truth == 1)) > 0.98
        sizes.append(int(truth.sum()))
    assert min(sizes) < 0.7 * inside.sum() < 1.4 * inside.sum() < max(sizes)


def test_checkpoint_of_another_run_is_refused(patches, tmp_path):
    checkpoint = tmp_path / "run.place"
    train_patches(patches, replace(QUICK, epochs=1), Hooks(checkpoint=checkpoint))
    with pytest.raises(OtherRunError, match=r"an unfinished run of other data or settings \(1 passes are done\)"):
        train_patches(patches, replace(QUICK, epochs=1, seed=6), Hooks(checkpoint=checkpoint, resume=True))
    # names and images are the same: outlines were corrected
    mended = replace(patches, load=lambda i: (patches.load(i)[0], np.roll(patches.load(i)[1], 3, axis=0)))
    with pytest.raises(OtherRunError):
        train_patches(mended, replace(QUICK, epochs=1), Hooks(checkpoint=checkpoint, resume=True))
    taken = []
    train_patches(patches, replace(QUICK, epochs=1), Hooks(checkpoint=checkpoint, resume=True, on_resume=taken.append))
    assert taken == [2], "it had ended"
    checkpoint.write_bytes(checkpoint.read_bytes()[:100])
    with pytest.raises(TrainingRecipeError, match="not the checkpoint of a training run"):
        train_patches(patches, replace(QUICK, epochs=1), Hooks(checkpoint=checkpoint, resume=True))
    train_patches(patches, replace(QUICK, epochs=1), Hooks(checkpoint=checkpoint))  # without resume it begins anew


def test_without_held_part_the_last_epoch_has_the_given_threshold(patches):
    how = replace(QUICK, epochs=2, split="all", threshold=0.35, temperature=1.4)
    trained = train_patches(patches, how)
    assert (trained.threshold, trained.calibration.temperature, trained.best_epoch) == (0.35, 1.4, 2)
    assert (trained.held_names, trained.held_f1) == ((), None)
    assert [sorted(row) for row in trained.history] == [["epoch", "learning_rate", "loss"]] * 2
    fit = np.arange(0, 21, 2)
    assert not same(trained, train_patches(patches, how, parts=(fit, fit[:0])))


def test_first_stop_signal_ends_the_step_and_second_ends_at_once():
    before = signal.getsignal(signal.SIGTERM)
    with catch_stop_signals() as asked:
        assert asked == []
        os.kill(os.getpid(), signal.SIGTERM)
        assert asked == [signal.SIGTERM]
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is before


@tabulated("spelling", [*TERMS, "ce+dice", "focal+tversky"])
def test_a_loss_falls_when_the_map_gets_better_and_leaves_out_what_is_not_known(spelling):
    loss = make_loss(spelling, landslide_share=0.1)
    truth = torch.zeros(2, 8, 8, dtype=torch.long)
    truth[:, :3, :3] = 1
    right = torch.stack([(truth == 0) * 4.0, (truth == 1) * 4.0], dim=1)
    assert loss(right, truth) < loss(right * 0, truth) < loss(-right, truth)
    hidden = truth.clone()
    hidden[:, 0] = IGNORED
    changed = right.clone()
    changed[:, :, 0] = -7.0
    assert loss(changed, hidden) == pytest.approx(float(loss(right, hidden)), abs=1e-6)
    changed.requires_grad_()
    loss(changed, hidden).backward()
    assert (changed.grad[:, :, 0] == 0).all()


def test_a_miss_costs_more_than_a_false_alarm_where_that_is_asked_for():
    truth = torch.zeros(1, 10, 10, dtype=torch.long)
    truth[:, :5] = 1

    def logits(rows):
        found = torch.zeros(1, 10, 10)
        found[:, :rows] = 1
        return torch.stack([(1 - found) * 9, found * 9], dim=1)

    tversky = make_loss("tversky")
    assert tversky(logits(3), truth) > tversky(logits(7), truth)


def test_variation_moves_truth_with_the_image():
    rng = np.random.default_rng(1)
    mask = (rng.random((12, 12)) > 0.7).astype(np.uint8)
    image = np.stack([mask, mask]).astype(np.float32)
    normalisation = np.zeros(2, np.float32), np.ones(2, np.float32)
    still = ImageryTrainingSettings(brightness=(1.0, 1.0), shift=0.0)
    seen = set()
    for _ in range(40):
        values, truth = vary(image, mask, normalisation, still, rng)
        assert np.array_equal(values[0], truth)
        seen.add(truth.tobytes())
    assert len(seen) == 8
    factors = [
        float(vary(image, mask, normalisation, ImageryTrainingSettings((0.5, 2.0), 0.0), rng)[0].max())
        for _ in range(200)
    ]
    assert min(factors) >= 0.5
    assert max(factors) <= 2.0
    assert np.median(factors) == pytest.approx(1.0, abs=0.15)
    oblong, truth = vary(image[:, :6], mask[:6], normalisation, still, rng)
    assert oblong.shape[1:] == truth.shape == (6, 12)


def test_temperature_corrects_overconfidence_only():
    rng = np.random.default_rng(2)
    chance = rng.uniform(0.02, 0.98, 40_000)
    truth = rng.random(40_000) < chance
    odds = np.log(chance / (1 - chance))
    found = fit_temperature(odds * 2.5, truth)
    assert found.temperature == pytest.approx(2.5, rel=0.05)
    assert found.ece_after < 0.01 < found.ece_before
    assert found.nll_after < found.nll_before
    assert fit_temperature(odds, truth).temperature == pytest.approx(1.0, abs=0.05)
    halves = [(odds[:9000], truth[:9000]), (odds[9000:], truth[9000:])]
    assert choose_threshold(halves) == choose_threshold([(odds, truth)])
    best, f1 = choose_threshold([(odds, truth)])
    probabilities = (1 / (1 + np.exp(-odds))).astype(np.float32)
    scores = [2 * (p & truth).sum() / (p.sum() + truth.sum()) for p in (probabilities >= t for t in THRESHOLDS)]
    assert f1 == pytest.approx(max(scores), abs=1e-4)
    assert best == pytest.approx(THRESHOLDS[int(np.argmax(scores))])


def test_values_are_clipped_to_the_range_in_training_and_inference(patches, tmp_path):
    """One pixel of 1e6 in a fitted patch neither moves the normalisation nor what is found elsewhere."""

    def load(number):
        image, mask = patches.load(number)
        return np.where(image > 0.3, 1e6, image), mask

    trained = train_patches(replace(patches, load=load), replace(QUICK, epochs=1, clip=True))
    assert max(trained.mean) < 1e6
    assert trained.clipped
    ranges = [[0.0, 0.2], [0.1, 0.3], [0.0, 1.0]]
    held = patches.clip(ranges).read(0).image
    assert held.max(axis=(1, 2)) == pytest.approx([0.2, 0.3, held[2].max()])
    model = load_model("generated")
    normalisation = {**model.card["normalisation"], "clip": True}
    images, _ = draw_patches(77, 1, 32, model.bands)
    valid = np.ones((32, 32), bool)
    low, high = (np.array(normalisation["value_range"])[:, side, None, None] for side in (0, 1))
    clipping = Segmenter(replace(model, card={**model.card, "normalisation": normalisation}))
    plain = Segmenter(model)
    expected = plain.probabilities(np.clip(images[0] * 9, low, high).astype(np.float32), valid)
    assert clipping.probabilities(images[0] * 9, valid) == pytest.approx(expected, abs=1e-6)


def test_patches_of_several_sizes_need_a_size_and_pixels_not_known_count_nowhere(patches):
    mixed = replace(patches, load=lambda i: (patches.load(i)[0][:, : 32 - i % 2], patches.load(i)[1][: 32 - i % 2]))
    with pytest.raises(TrainingRecipeError, match=r"different sizes; give data\.size_px"):
        train_patches(mixed, QUICK)
    hidden = replace(patches, load=lambda i: (patches.load(i)[0], np.full((32, 32), IGNORED, np.uint8)))
    trained = train_patches(patches, replace(QUICK, epochs=1))
    scores = evaluate(trained, hidden)
    assert scores["nodata"] == 21 * 32 * 32
    assert scores["f1"] is None


@pytest.mark.parametrize("weights", SHIPPED)
def test_shipped_weights_are_small_and_say_what_they_are(weights):
    path = weights_path(weights)
    assert path.stat().st_size < 20e6
    card = load_model(weights).card
    assert card["data"]["licence"]
    assert card["data"]["source"] != card["data"]["recipe"]["source"]
    assert card["limits"]
    assert 0 < card["threshold"] < 1
    bars = {"generated": ("f1", 0.90), "bijie": ("f1", 0.65), "triage": ("recall", 0.95)}
    name, bar = bars.get(weights, ("f1", 0.57))
    assert card["metrics"]["test"][name] >= bar
    text = path.with_suffix(".md").read_text()
    assert f"{name.replace('f1', 'F1')} {card['metrics']['test'][name]}" in text
    assert card["data"]["licence"] in text


def test_triage_keeps_the_last_epoch_and_a_low_threshold():
    images, masks = draw_patches(8, 12, 32, ("B4", "B3", "B2"))
    masks[::2] = 0
    settings = replace(QUICK, network="triage-resnet", width=0.125, epochs=2, held_share=0.5)
    last = {}
    hooks = Hooks(on_progress=lambda told: last.update(epoch=told.epoch, held=told.held_score))
    trained = train_triage(make_patches(images, masks), settings, hooks)
    assert trained.best_epoch == last["epoch"] == 2
    assert trained.held_f1 == last["held"]
    assert 0 <= trained.threshold <= THRESHOLD_MOST
    assert len(trained.held_names) == 6


def test_tiles_of_the_test_are_resized_before_they_are_stretched_as_in_training():
    images = np.random.default_rng(3).normal(size=(8, 3, 48, 48)).astype(np.float32)
    masks = np.zeros((8, 48, 48), np.uint8)
    masks[::2, :20] = 1
    native = make_patches(images, masks)

    def stretch(patches):
        return patches.standardise(())

    trained = train_triage(
        stretch(native.resize(32)),
        replace(QUICK, network="triage-resnet", width=0.125, epochs=1, held_share=0.5),
    )
    stretched = stretch(native.resize(32))
    probabilities = predict_tiles(trained.network, stretched, np.arange(8), trained.normalisation)
    trained = replace(trained, threshold=float(np.median(probabilities)))
    scores = evaluate_triage(trained, native, 32, stretch)
    assert scores["passed_over"] == np.count_nonzero(probabilities < trained.threshold)
    other = predict_tiles(trained.network, stretch(native).resize(32), np.arange(8), trained.normalisation)
    assert not np.allclose(other, probabilities)


def test_weights_that_differ_from_their_card_are_refused(tmp_path):
    for suffix in (".safetensors", ".json"):
        shutil.copy(WEIGHTS_FOLDER / f"generated{suffix}", tmp_path / f"own{suffix}")
    load_model(str(tmp_path / "own.safetensors"))
    content = bytearray((tmp_path / "own.safetensors").read_bytes())
    content[-1] ^= 1
    (tmp_path / "own.safetensors").write_bytes(content)
    with pytest.raises(ModelError, match="not those of the card"):
        load_model(str(tmp_path / "own.safetensors"))
    (tmp_path / "own.json").unlink()
    with pytest.raises(ModelError, match=r"own\.json is missing"):
        load_model(str(tmp_path / "own.safetensors"))


def test_device_must_be_known_and_available(patches, monkeypatch):
    monkeypatch.setenv("SLOPEWARD_DEVICE", "tpu")
    with pytest.raises(TrainingRecipeError, match="expected one of cpu, cuda, auto"):
        train_patches(patches, QUICK)
    monkeypatch.setenv("SLOPEWARD_DEVICE", "cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(TrainingRecipeError, match="finds no accelerator"):
        train_patches(patches, QUICK)


def test_cost_of_a_loss_of_quality_that_the_card_lacks_is_unknown():
    card = {"steadiness": {"f1": {"plain": 0.6, "blur": 0.55}}}
    assert find_cost([Reason(INTERPOLATED)], card) == pytest.approx(0.05)
    assert find_cost([Reason(NOISY, {"seen": 2.0})], card) is None
