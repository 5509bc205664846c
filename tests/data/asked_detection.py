"""Detections with plain options, and results with the text of their reasons."""

from pathlib import Path

from detection.imagery.footprints import detect as detecting
from detection.imagery.footprints.cautions import list_doubts
from detection.imagery.footprints.options import DetectionOptions
from detection.reasons import reasons_from_json
from monitor.text.reasons import convert_reason, convert_reasons_within

PATHS = {"scene_path", "out_dir", "dem", "prior", "aoi"}


def read_options(asked):
    given_options = {key: value for key, value in asked.items() if value is not None}
    options = {key: Path(value) if key in PATHS else value for key, value in given_options.items()}
    return DetectionOptions(**options, describe=convert_reason)


def detect(asked, *progress):
    """Return the result with the text of its reasons, and the texts of its doubts as `doubts`."""
    result = detecting.detect(read_options(asked), *progress)
    return convert_reasons_within({**result, "doubts": list_doubts(result["warnings"])})


def list_texts(answer):
    """Return the texts of the warnings of an answer of `slopeward scenes detect --json`."""
    return [warning["text"] for warning in answer["warnings"]]


def read_doubts(answer):
    """Return the texts of the doubts of an answer of `slopeward scenes detect --json`."""
    return list(map(convert_reason, list_doubts(reasons_from_json(answer["warnings"]))))
