"""Compare scenes of the same ground that were taken on different dates.

The modules in the order in which a comparison uses them:

* `records` contains what is stored of a date and what a comparison returns.
* `images` reads the image of a date on the grid of the newer one, and `dates` its stored probabilities.
* `alignment` measures the shift between two images and corrects it.
* `comparison` compares two rasters pixel by pixel by a measure. `compare` measures probabilities, `by_index` an index
  of red and green, and `slopeward_earth.surface` heights.
* `classification` classifies each footprint of a network as new, grown, known or single, and finds vanished ones.
* `cautions` lists why a change is advice only.
* `outputs` writes outlines, the raster and the picture.
"""
