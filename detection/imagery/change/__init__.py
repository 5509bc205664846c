"""Compare dates of one ground.

The modules follow the path of a comparison:

* `records` contains what is stored of a date and what a comparison returns.
* `images` reads the image of a date on the grid of the newer one, and `dates` its stored probabilities.
* `alignment` measures how two images lie on each other and corrects a shift.
* `comparison` compares two rasters pixel by pixel by a measure. `compare` measures probabilities, `by_index` an index
  of red and green, and `slopeward_earth.surface` heights.
* `classification` says what became of each footprint of a network.
* `cautions` lists why a change is advice only.
* `outputs` writes outlines, the raster and the picture.
"""
