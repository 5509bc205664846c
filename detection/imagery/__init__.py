"""From a scene on disk to polygons with true areas."""
