"""Detections with plain options, and results with the text of their reasons."""

from pathlib import Path

from detection.imagery.footprints import detect as detecting
from detection.imagery.footprints.options import DetectionOptions
from monitor.text.reasons import convert_reason, convert_reasons_within

PATHS = {"scene_path", "out_dir", "dem", "prior", "aoi"}


def read_options(asked):
    given = {key: one for key, one in asked.items() if one is not None}
    plain = {key: Path(one) if key in PATHS else one for key, one in given.items()}
    return DetectionOptions(**plain, describe=convert_reason)


def detect(asked, *progress):
    return convert_reasons_within(detecting.detect(read_options(asked), *progress))
