"""From a scene to its footprints: probabilities, outlines, files, and what one must know before one trusts them."""
