"""Products as satellites' providers hand them out, described as a `scene.toml` would describe them."""
