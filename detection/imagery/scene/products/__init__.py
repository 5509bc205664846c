"""Convert the metadata of satellite products to the content of a `scene.toml`."""
