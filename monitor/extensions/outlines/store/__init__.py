"""Outlines, labels, tiles that wait for a look, and what people say of footprints."""
