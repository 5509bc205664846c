"""Find footprints on a scene: probabilities, outlines, files, warnings and cautions."""
