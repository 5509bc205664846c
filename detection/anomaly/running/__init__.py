"""Score the new readings of a site with the state that the last scoring left, without reading the past again."""
