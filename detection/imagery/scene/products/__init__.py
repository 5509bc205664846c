"""Read the descriptions that come with products of satellites, in the form of a `scene.toml`."""
