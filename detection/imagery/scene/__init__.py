"""Read a scene from its files, up to the values that a network was trained on.

- Open: `scene` reads the description of a scene or of a product (`products`), `offsets` reads its calibration, and
  `heights` joins its elevation model. `reader` reads its bands by windows on one grid, `resized` on pixels of another
  size.
- Check: `fill` and `border` mask nodata that no file declares, `white_ground` finds snow and cloud, `built_ground`
  finds towns, and `registration` measures the shift between two dates.
- Normalise: `radiometry` turns counts into model values, with the local statistics of `moments`.
"""
