"""A detection asked for by plain words, as tests write them."""

from pathlib import Path

from detection.imagery.footprints import detect as detecting
from detection.imagery.footprints.options import DetectionOptions

PATHS = {"scene_path", "out_dir", "dem", "prior", "aoi"}


def read_options(asked):
    given = {key: one for key, one in asked.items() if one is not None}
    return DetectionOptions(**{key: Path(one) if key in PATHS else one for key, one in given.items()})


def detect(asked, *progress):
    return detecting.detect(read_options(asked), *progress)
