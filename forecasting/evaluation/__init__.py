"""What forecasts were worth: backtests, scores, significance, and the proof that none knew the future."""
