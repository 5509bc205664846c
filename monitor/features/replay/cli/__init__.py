"""Commands `slopeward backtest` and `slopeward sites thresholds`."""
