"""`slopeward scenes`."""
