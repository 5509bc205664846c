"""A scene from its files to the values that a network was trained on.

- Open: `scene` reads the description of a scene, also of products (`products`), `offsets` its calibration, and
  `heights` its elevation model. `reader` reads its bands by windows on one grid, `resized` on pixels of another size.
- Check: `fill` and `border` mask nodata that no file declares, `white_ground` finds snow and cloud, and `registration`
  measures the shift between two dates.
- Normalise: `radiometry` turns counts into model values, with the local statistics of `moments`.
"""
