"""Commands `slopeward scenes`."""
