"""Commands `slopeward anomalies`."""
