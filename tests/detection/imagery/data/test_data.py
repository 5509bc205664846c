"""Readers take the published layouts and refuse others; splits leave nothing on both sides; windows are measured."""

import io
import json
from dataclasses import replace
from zipfile import ZipFile

import numpy as np
import pytest
from affine import Affine
from scipy import ndimage

from detection.imagery.data import bijie, folder, landslide4sense
from detection.imagery.data.catalogue import SOURCES, find_pixel_size, open_data
from detection.imagery.data.patches import IGNORED, Patches, make_patches, resize_bands, resize_mask
from detection.imagery.data.splits import find_twins, split
from detection.imagery.errors import DataError, ImageryError, ModelError, TrainingRecipeError
from detection.imagery.raster.grid import grid_around
from detection.imagery.raster.raster import write_png
from detection.imagery.training.domain import describe_training
from detection.imagery.training.picture_digests import count_trained_on, write_digests
from detection.imagery.training.windows import measure_window
from tests.data.surveys.rasters import write_raster

RNG = np.random.default_rng(4)


def picture(height=20, width=24, bands=3):
    return RNG.integers(0, 255, (bands, height, width), dtype=np.uint8)


def write_pair(images, masks, name, size=(20, 24)):
    for place, bands in ((images, 4), (masks, 4)):
        place.mkdir(parents=True, exist_ok=True)
        content = picture(*size, bands)
        content[3] = 255
        if place is masks:
            content[:3] = (content[0] > 200) * np.uint8(255)
        write_png(place / name[place is masks], content)


def test_landslide4sense_png_drops_alpha_and_keeps_the_pairs(tmp_path):
    for number in (0, 7):
        names = f"image_{number}.png", f"mask_{number}.png"
        write_pair(tmp_path / "t/train/images", tmp_path / "t/train/masks", names)
    with ZipFile(tmp_path / "train.zip", "w") as archive:
        for file in sorted((tmp_path / "t").rglob("*.png")):
            archive.write(file, file.relative_to(tmp_path / "t"))
    patches = landslide4sense.read_png(tmp_path, "train")
    assert patches.names == ("image_0", "image_7")
    assert patches.bands == ("B4", "B3", "B2")
    first = patches.read(0)
    assert first.image.shape == (3, 20, 24)
    assert set(np.unique(first.mask)) == {0, 1}


def hdf5(key, values):
    h5py = pytest.importorskip("h5py")
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        file[key] = values
    return buffer.getvalue()


def write_hdf5(root, number, image, mask, keys=("img", "mask")):
    for place, name, key, values in (("img", "image", keys[0], image), ("mask", "mask", keys[1], mask)):
        (root / place).mkdir(parents=True, exist_ok=True)
        (root / place / f"{name}_{number}.h5").write_bytes(hdf5(key, values))


def test_landslide4sense_hdf5_is_channel_last(tmp_path):
    image = RNG.random((16, 16, 14))
    mask = (RNG.random((16, 16)) > 0.9).astype(np.uint8)
    write_hdf5(tmp_path / "TrainData", 3, image, mask)
    patches = landslide4sense.read_hdf5(tmp_path, "train")
    found = patches.select_bands(("B4", "slope")).read(0)
    assert np.allclose(found.image[0], image[:, :, 3])
    assert np.allclose(found.image[1], image[:, :, 12])
    assert found.image.dtype == np.float32
    assert np.array_equal(found.mask, mask)


def test_slope_of_landslide4sense_is_in_whole_degrees_once_it_is_an_optional_band(measured, tmp_path):
    with ZipFile(measured("landslide4sense-14band/patches.zip")) as archive:
        archive.extractall(tmp_path)
    patches = landslide4sense.read_hdf5(tmp_path / "labelled", "train").split_optional(("slope",))
    assert "slope" not in patches.bands
    assert len(patches) == 2
    for position in range(len(patches)):
        slope_deg = patches.load_optional(position)[0]
        assert 0 <= slope_deg.min() < 5
        assert 40 < slope_deg.max() < 90
        np.testing.assert_allclose(slope_deg, np.rint(slope_deg), atol=0.01)


@pytest.mark.parametrize(
    ("shape", "keys", "words"),
    [
        ((14, 16, 16), ("img", "mask"), r"image_3\.h5: `img` of shape \(14, 16, 16\), expected rows x columns x 14"),
        ((16, 16, 14), ("image", "mask"), r"image_3\.h5: no key 'img'; there are: image"),
        ((16, 16, 14), ("img", "label"), r"mask_3\.h5: no key 'mask'; there are: label"),
    ],
)
def test_wrong_hdf5_layout_is_refused_in_one_line(tmp_path, shape, keys, words):
    write_hdf5(tmp_path, 3, np.zeros(shape), np.zeros((16, 16), np.uint8), keys)
    with pytest.raises(DataError, match=words) as caught:
        landslide4sense.read_hdf5(tmp_path, "train").read(0)
    assert "\n" not in str(caught.value)


def test_bijie_in_the_layout_of_its_copies_and_of_its_origin(tmp_path):
    for name, size in (("ls_0003", (30, 22)), ("nls_0001", (18, 40))):
        write_pair(tmp_path / "copy/train/images", tmp_path / "copy/train/masks", (f"{name}.png",) * 2, size)
    patches = bijie.read(tmp_path / "copy", "train")
    assert [(patch.name, patch.mask.shape) for patch in patches] == [("ls_0003", (30, 22)), ("nls_0001", (18, 40))]
    write_pair(tmp_path / "origin/landslide/image", tmp_path / "origin/landslide/mask", ("df001.png",) * 2)
    write_pair(tmp_path / "origin/non-landslide/image", tmp_path / "spare", ("qth001.png",) * 2)
    original = bijie.read(tmp_path / "origin", "train")
    assert len(original) == 2
    assert [bool(patch.mask.any()) for patch in original] == [True, False]
    assert {patch.image.shape[0] for patch in patches.resize(16)} == {3}
    assert patches.resize(16).read(0).mask.shape == (16, 16)
    (tmp_path / "copy/train/masks/ls_0003.png").unlink()
    with pytest.raises(TrainingRecipeError, match=r"ls_0003\.png has no mask"):
        bijie.read(tmp_path / "copy", "train")


def write_tif(path, values, nodata=None, moved=(0.0, 0.0), pixel_m=10.0):
    grid = grid_around(8.9, 46.2, values.shape[-1], pixel_m)
    a, b, c, d, e, f = grid.transform[:6]
    transform = Affine(a, b, c + a * moved[0], d, e, f + e * moved[1])
    write_raster(path, values, crs=grid.crs_wkt, transform=transform, nodata=nodata)


def test_own_geotiffs_with_masks_and_unknown_pixels(tmp_path):
    image = RNG.integers(1, 4000, (4, 16, 16)).astype(np.uint16)
    image[:, :3] = 0
    mask = np.zeros((1, 16, 16), np.uint8)
    mask[0, 8:, 8:] = 1
    mask[0, 15] = IGNORED
    write_tif(tmp_path / "train/images/a.tif", image, nodata=0)
    write_tif(tmp_path / "train/masks/a.tif", mask)
    patches = folder.read(tmp_path, "train", bands=("blue", "B3", "B04", "nir"))
    found = patches.read(0)
    assert (found.mask[:3] == IGNORED).all()
    assert (found.mask[15] == IGNORED).all()
    assert np.count_nonzero(found.mask == 1) == 7 * 8
    assert (folder.read(tmp_path, "train").bands) == ("band1", "band2", "band3", "band4")
    with pytest.raises(DataError, match="bands B11 are not in the data, which have B2, B3, B4, B8"):
        patches.select_bands(("B4", "B11"))
    write_tif(tmp_path / "train/masks/a.tif", mask * 2)
    with pytest.raises(DataError, match="mask value 2; expected 0, 1 and 255"):
        folder.read(tmp_path, "train").read(0)


@pytest.mark.parametrize(
    ("moved", "pixel_m", "is_read"),
    [
        ((0.0, 0.0), 10.0, True),
        ((0.3, -0.3), 10.0, True),
        ((20.0, 0.0), 10.0, False),
        ((0.0, -1.0), 10.0, False),
        ((0.0, 0.0), 11.0, False),
    ],
)
def test_a_mask_that_lies_beside_its_image_is_refused(tmp_path, moved, pixel_m, is_read, monkeypatch):
    write_tif(tmp_path / "train/images/a.tif", np.ones((3, 32, 32), np.uint16))
    write_tif(tmp_path / "train/masks/a.tif", np.ones((1, 32, 32), np.uint8), moved=moved, pixel_m=pixel_m)
    read = folder.read(tmp_path, "train").read
    if is_read:
        assert (read(0).mask == 1).all()
        monkeypatch.setattr(folder, "_check_same_place", None)  # once is enough
        assert (read(0).mask == 1).all()
    else:
        for _ in range(2):
            with pytest.raises(DataError, match="pixels beside its image"):
                read(0)


def test_masks_with_0_and_255_alone_colours_or_shares_are_refused(tmp_path):
    truth = np.zeros((16, 16), np.uint8)
    truth[4:9, 4:9] = 1

    def read(mask, **said):
        write_tif(tmp_path / "train/images/a.tif", RNG.integers(1, 4000, (3, 16, 16)).astype(np.uint16))
        write_tif(tmp_path / "train/masks/a.tif", mask)
        return folder.read(tmp_path, "train", **said).read(0).mask

    assert (read(truth[None]) == truth).all()
    with pytest.raises(DataError, match=r"only 0 and 255\. If 255 means landslide, set"):
        read(truth[None] * np.uint8(255))
    assert (read(truth[None] * np.uint8(255), landslide=255) == truth).all()
    assert (read(np.stack([truth * np.uint8(7)] * 3), landslide=7) == truth).all()  # grey in three bands
    for at in range(3):  # whichever colour it is, the first band is not all there is
        with pytest.raises(DataError, match="3 bands that differ"):
            read(np.stack([truth * np.uint8(255 * (k == at)) for k in range(3)]), landslide=255)
    declared = np.where(np.arange(16) < 2, -9999, truth.astype("int16"))[None]
    write_tif(tmp_path / "train/masks/a.tif", declared, nodata=-9999)
    known = folder.read(tmp_path, "train").read(0).mask
    assert (known[:, :2] == IGNORED).all()
    assert (known[:, 2:] == truth[:, 2:]).all()
    write_tif(tmp_path / "train/masks/a.tif", truth[None], nodata=0)  # many declare what they mean as ground
    assert (folder.read(tmp_path, "train").read(0).mask == truth).all()
    with pytest.raises(DataError, match=r"mask value 0\.6: shares"):
        read((truth * 0.6)[None].astype("float32"))
    unknown = truth[None] * np.uint8(255)
    unknown[0, 12, 12] = 1
    assert set(np.unique(read(unknown))) == {0, 1, IGNORED}  # beside a 1, 255 is not known
    assert (read(truth[None] * 0) == 0).all()  # ground without a landslide can be scored


def test_errors_name_missing_and_damaged_files(tmp_path):
    with pytest.raises(TrainingRecipeError, match=r"train\.zip: the recipe's data are absent"):
        landslide4sense.read_png(tmp_path, "train")
    (tmp_path / "train.zip").write_bytes(b"not a zip at all")
    with pytest.raises(TrainingRecipeError, match=r"train\.zip: neither a folder nor a zip"):
        landslide4sense.read_png(tmp_path, "train")
    write_pair(tmp_path / "train/images", tmp_path / "train/masks", ("image_1.png", "mask_1.png"))
    (tmp_path / "train.zip").unlink()
    (tmp_path / "train/images/image_1.png").write_bytes(b"\x89PNG broken")
    with pytest.raises(DataError, match=r"images/image_1\.png is no picture"):
        landslide4sense.read_png(tmp_path, "train").read(0)


def test_mosaic_named_as_picture_opens_no_other_file(tmp_path):
    write_pair(tmp_path / "train/images", tmp_path / "train/masks", ("image_1.png", "mask_1.png"))
    bent = (
        '<VRTDataset rasterXSize="8" rasterYSize="8"><VRTRasterBand dataType="Byte" band="1"><SimpleSource>'
        f"<SourceFilename>{tmp_path / 'train/masks/mask_1.png'}</SourceFilename><SourceBand>1</SourceBand>"
        "</SimpleSource></VRTRasterBand></VRTDataset>"
    )
    (tmp_path / "train/images/image_1.png").write_text(bent)
    with pytest.raises(DataError, match=r"images/image_1\.png is no picture"):
        landslide4sense.read_png(tmp_path, "train").read(0)
    with pytest.raises(DataError, match="no picture that can be read"):
        folder.read_whole(tmp_path / "train/images/image_1.png")


def test_every_data_set_has_source_licence_and_note():
    for source in SOURCES.values():
        assert source.source
        assert source.licence
        assert source.note
    with pytest.raises(ImageryError, match=r"unknown key data\.colour"):
        open_data({"source": "bijie", "colour": 1}, ("red",), 0, None)


@pytest.mark.parametrize(
    ("source", "size_px", "expected_m"),
    [
        ("landslide4sense-rgb", None, 10.0),
        ("landslide4sense-rgb", 64, 20.0),
        ("landslide4sense", 256, 5.0),
        ("bijie", 160, 1.2),
        ("bijie", 128, 1.5),
        ("generated", 128, 10.0),
        ("folder", 64, 4.0),
    ],
)
def test_pixel_size_is_that_of_the_resized_patches(source, size_px, expected_m):
    native = replace(patches_of(np.zeros((1, 3, 128, 128), np.float32)), pixel_size_m=2.0)
    data = {"source": source} if size_px is None else {"source": source, "size_px": size_px}
    assert find_pixel_size(data, native) == expected_m


def test_resizing_keeps_means_and_classes():
    image = RNG.random((2, 60, 45)).astype(np.float32)
    assert resize_bands(image, (20, 15)).mean() == pytest.approx(image.mean(), abs=0.01)
    assert resize_bands(image, (60, 45)) == pytest.approx(image)
    up = resize_bands(image, (120, 90))
    assert up.min() >= image.min()
    assert up.max() <= image.max()
    mask = np.array([[0, 1], [255, 1]], np.uint8)
    assert np.array_equal(resize_mask(mask, (4, 4)), np.kron(mask, np.ones((2, 2), np.uint8)))


def patches_of(images):
    return make_patches(np.asarray(images), np.zeros((len(images), *np.shape(images)[2:]), np.uint8))


def test_twins_are_found_even_if_turned_and_slightly_changed():
    images = RNG.random((6, 3, 32, 32)).astype(np.float32)
    other = RNG.random((4, 3, 32, 32)).astype(np.float32)
    assert find_twins(patches_of(images), patches_of(other)) == []
    other[1] = np.rot90(images[4], 3, (1, 2))[:, :, ::-1] * 0.8 + 0.02 + 0.01 * RNG.random((3, 32, 32))
    assert [pair[:2] for pair in find_twins(patches_of(images), patches_of(other))] == [("4", "1")]


def test_no_split_has_a_patch_in_both_parts():
    named = patches_of(RNG.random((30, 1, 16, 16)).astype(np.float32))
    fit, held = split(named, "seeded", 0.2, seed=3)
    assert sorted([*fit, *held]) == list(range(30))
    assert len(held) >= 4
    again = split(named, "seeded", 0.2, seed=3)
    assert np.array_equal(again[1], held)
    with pytest.raises(TrainingRecipeError, match="unknown split 'random'"):
        split(named, "random", 0.2, 0)


def test_patches_are_read_when_needed_and_cached():
    reads = []

    def load(position):
        reads.append(position)
        return np.full((1, 4, 4), position, np.float32), np.zeros((4, 4), np.uint8)

    patches = Patches(("a", "b", "c"), ("x",), load)
    assert [patch.name for patch in patches.take([2, 0])] == ["c", "a"]
    kept = patches.cache()
    reads.clear()
    assert kept.read(1).image[0, 0, 0] == kept.read(1).image[0, 0, 0] == 1
    assert reads == [1]
    assert kept.fingerprint() == patches.fingerprint() != patches.take([0, 1]).fingerprint()


@pytest.mark.soak
@pytest.mark.data
def test_landslide4sense_pictures_are_read_as_they_are_and_none_leaked(measured):
    data = {"source": "landslide4sense-rgb", "folder": "landslide4sense-rgb"}
    train, test = open_data(data, ("B4", "B3", "B2"), 0, measured("landslide4sense-rgb").parent)
    assert (len(train), len(test)) == (1100, 300)
    test = test.cache()
    first = test.read(0)
    assert first.image.shape == (3, 128, 128)
    assert first.image.dtype == np.uint8
    assert np.mean([patch.mask.mean() for patch in test]) == pytest.approx(0.04093, abs=1e-4)
    assert find_twins(train.take(range(0, 1100, 4)), test) == []


@pytest.mark.soak
@pytest.mark.data
def test_bijie_crops_are_read_as_they_are(measured):
    train, test = (bijie.read(measured("bijie"), part) for part in ("train", "val"))
    assert (len(train), len(test)) == (230, 50)
    masks = [patch.mask for patch in test]
    assert sum(int(mask.sum()) for mask in masks) / sum(mask.size for mask in masks) == pytest.approx(0.0951, abs=2e-4)
    assert len({mask.shape for mask in masks}) > 20
    assert find_twins(train.resize(32), test.resize(32)) == []


def correlate(one, other):
    return np.corrcoef(one, other)[0, 1]


@pytest.mark.parametrize("valid_share", [1.0, 0.8])
@pytest.mark.parametrize("offset", [0.0, 1000.0])
def test_window_statistics_follow_their_definitions(valid_share, offset):
    rng = np.random.default_rng(3)
    ground = ndimage.gaussian_filter(rng.normal(0, 1, (90, 70)), 1.5)
    noise = rng.normal(0, 0.05, (3, 90, 70))
    values = (offset + ground * np.array([1, 2, -1])[:, None, None] + noise).astype(np.float32)
    valid = rng.random((90, 70)) < valid_share
    window, exact = measure_window(values, valid), values.astype(np.float64)
    valid_values = exact[:, valid]
    low, middle, high = np.quantile(valid_values, [0.05, 0.5, 0.95], axis=1)
    assert (window.median, window.spread) == (pytest.approx(middle), pytest.approx(high - low))
    assert window.correlation == pytest.approx(
        min(correlate(valid_values[i], valid_values[j]) for i in range(3) for j in range(i))
    )
    down, right = valid[1:] & valid[:-1], valid[:, 1:] & valid[:, :-1]
    along = [(correlate(b[1:][down], b[:-1][down]) + correlate(b[:, 1:][right], b[:, :-1][right])) / 2 for b in exact]
    assert window.smoothness == pytest.approx(min(along))
    steps = [np.diff(exact, axis=1)[:, down], np.diff(exact, axis=2)[:, right]]
    assert window.step_covariance == pytest.approx(sum(direction @ direction.T for direction in steps))


def test_a_band_that_does_not_vary_correlates_with_nothing():
    values = np.full((2, 32, 32), 0.1, np.float32)
    values[1] = np.linspace(0, 1, 32)
    window = measure_window(values, np.ones((32, 32), bool))
    assert (window.correlation, window.smoothness, window.spread[0]) == (0.0, 0.0, 0.0)
    assert measure_window(values[:1], np.eye(32, dtype=bool)).smoothness == 0.0  # no pixel has a neighbour


def test_the_card_of_grey_pictures_has_no_limit_of_colour():
    rng = np.random.default_rng(1)

    def load(_):
        grey = ndimage.gaussian_filter(rng.random((64, 64)), 1).astype(np.float32) + 1.0
        return np.stack([grey, grey, grey]), np.zeros((64, 64), np.uint8)

    description = describe_training(Patches(tuple(map(str, range(100))), ("B4", "B3", "B2"), load), 1.0, "")
    assert "colour_least" not in description
    json.dumps(description, allow_nan=False)


def test_copy_of_a_training_picture_is_recognised_by_its_values(tmp_path):
    images = np.random.default_rng(0).random((6, 3, 8, 8)).astype(np.float32)
    patches = make_patches(images, np.zeros((6, 8, 8), np.uint8))
    weights, following = tmp_path / "tiny.safetensors", tmp_path / "next.safetensors"
    write_digests(weights, patches.take([3, 1]))
    copies = make_patches(images[::-1].copy(), np.ones((6, 8, 8), np.uint8))
    assert count_trained_on(weights, copies) == 2
    write_digests(following, patches.take([0]), weights)
    assert count_trained_on(following, copies) == 3, "and what those saw that they began from"
    (tmp_path / "next.seen.npy").write_bytes(b"torn")
    with pytest.raises(ModelError, match="no digests of pictures"):
        count_trained_on(following, copies)
    (tmp_path / "next.seen.npy").unlink()
    assert count_trained_on(following, copies) is None
