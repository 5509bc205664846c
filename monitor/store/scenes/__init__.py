"""Scenes, their versions, footprints and what people say of them."""
