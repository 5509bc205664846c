"""Single landslides: the footprints of a scene with a score and a bounding box each, compared with a reference."""
