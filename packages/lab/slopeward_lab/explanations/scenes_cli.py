"""`slopeward scenes explain`: where in a scene a network sees a landslide, by Grad-CAM or occlusion."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import typer

from monitor.api.cli import print_result_in_order

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from slopeward_lab.explanations.scene_maps import SceneExplanation
    from slopeward_lab.explanations.scene_window import SceneWindow

EXAMPLE: Final = "Example: slopeward scenes explain post.tif --model landslide4sense --place 141.95,42.73"
SUFFIXES: Final = (".tif", ".png")
METHOD_NAMES: Final = {"grad-cam": "Grad-CAM", "occlusion": "occlusion"}


def explain(
    scene: Annotated[Path, typer.Argument(help="Raster, folder with scene.toml, or product of a satellite.")],
    model: Annotated[str, typer.Option(help="Shipped weights, or a .safetensors file.")],
    place: Annotated[
        str | None,
        typer.Option(
            help="Centre of the explained window: longitude,latitude, or column,row without coordinates. Default: the "
            "whole scene, if it is small."
        ),
    ] = None,
    method: Annotated[
        Literal["grad-cam", "occlusion"],
        typer.Option(help="occlusion hides one part of the image after the other, which takes longer."),
    ] = "grad-cam",
    side: Annotated[int, typer.Option(min=32, max=1024, help="Largest side of the window in pixels.")] = 256,
    dem: Annotated[Path | None, typer.Option(help="Elevation model, for weights that use heights or slope.")] = None,
    out: Annotated[
        Path, typer.Option(help="GeoTIFF (.tif) of the values, or picture (.png) of the values on the scene.")
    ] = Path("explanation.tif"),
) -> None:
    """Show on which parts of a scene a network bases the landslides that it finds.

    The values do not prove a cause: they show what the network uses, not what moved the slope.
    """
    import numpy as np

    from detection.imagery.errors import OutputError
    from detection.imagery.neural.model_file import load_model
    from slopeward_lab.explanations.scene_maps import explain_window
    from slopeward_lab.explanations.scene_window import read_window

    if out.suffix.lower() not in SUFFIXES:
        raise typer.BadParameter(f"{out}: expected a file name that ends in .tif or .png", param_hint="--out")
    lonlat = None if place is None else _parse_place(place)
    loaded = load_model(model)
    window = read_window(scene, loaded, lonlat, side, dem)
    threshold = float(loaded.card["threshold"])
    temperature = float(loaded.card.get("temperature", 1.0))
    explanation = explain_window(
        loaded.network,
        window.image,
        window.valid,
        method=method,
        threshold=threshold,
        temperature=temperature,
        show_progress=sys.stderr.isatty(),
    )
    values, valid = explanation.values[window.crop], window.valid[window.crop]
    try:
        if out.suffix.lower() == ".png":
            _write_picture(out, window, values, valid)
        else:
            _write_values(out, window, np.where(valid, values, np.float32("nan")), method)
    except OSError as error:
        raise OutputError(f"{out}: cannot write the explanation ({error.strerror or error})") from None
    facts: dict[str, Any] = {
        "scene": str(scene),
        "model": loaded.card["name"],
        "method": method,
        "window_px": [window.column, window.row, window.grid.width, window.grid.height],
        "landslide_px": explanation.landslide_px if explanation.found else 0,
        "threshold": threshold,
        "cell_px": explanation.cell_px,
        "map_px": explanation.map_px,
        "lowest": round(float(values[valid].min()), 5),
        "highest": round(float(values[valid].max()), 5),
        "out": str(out),
    }
    print_result_in_order(facts, f"{out}: {_describe(explanation, method, loaded.card['name'], threshold)}")


def _parse_place(text: str) -> tuple[float, float]:
    try:
        first, second = (float(part) for part in text.split(","))
    except ValueError:
        raise typer.BadParameter(
            f"{text!r}: expected two numbers, such as 141.95,42.73", param_hint="--place"
        ) from None
    return first, second


def _describe(explanation: "SceneExplanation", method: str, model: str, threshold: float) -> str:
    """Return the sentence that states what the file shows."""
    pixels = f"{explanation.landslide_px} landslide pixels"
    if not explanation.found:
        pixels = f"the most probable pixel, because no pixel reaches the threshold of {threshold:g}"
    if method == "grad-cam":
        return (
            f"{METHOD_NAMES[method]} of {model} for {pixels}; values near 1 mark the parts of the image on which the "
            "network bases them"
        )
    return (
        f"{METHOD_NAMES[method]} of {model} for {pixels}; a value is by how much their mean log odds fall if the cell "
        f"of {explanation.cell_px} px is hidden"
    )


def _write_values(path: Path, window: "SceneWindow", values: "NDArray[np.float32]", method: str) -> None:
    """Write the values of the window, NaN where they are not valid."""
    from detection.imagery.raster.raster import write_geotiff

    name = "grad-cam, 0 to 1" if method == "grad-cam" else "fall of the mean log odds"
    write_geotiff(path, values[None], window.grid, nodata=float("nan"), descriptions=(name,))


def _write_picture(
    path: Path, window: "SceneWindow", values: "NDArray[np.float32]", valid: "NDArray[np.bool_]"
) -> None:
    """Write the values, from transparent to yellow, on a grey picture of the window. Invalid pixels are transparent."""
    import numpy as np

    from detection.imagery.raster.raster import write_png
    from detection.imagery.tiles.records import RAMP

    grey = _stretch(window.image[0].mean(dim=0).numpy()[window.crop], valid) * 255
    share = np.clip(values / max(float(values[valid].max()), 1e-12), 0, 1)
    positions = np.linspace(0, 1, len(RAMP))
    picture = np.zeros((4, *valid.shape), np.uint8)
    for band, colours in enumerate(zip(*RAMP, strict=True)):
        colour = np.interp(share, positions, colours)
        picture[band] = (1 - share) * grey + share * colour
    picture[3] = valid * np.uint8(255)
    write_png(path, picture)


def _stretch(values: "NDArray[np.float32]", valid: "NDArray[np.bool_]") -> "NDArray[np.float32]":
    """Stretch values between their 2nd and 98th percentile to 0 to 1."""
    import numpy as np

    low, high = np.percentile(values[valid], [2, 98])
    return np.asarray(np.clip((values - low) / max(float(high - low), 1e-9), 0, 1))
