"""One file per criterion: assess(windows, now) -> Assessment."""
