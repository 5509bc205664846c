"""Evaluate forecasts: backtests, scores, significance, and a test that no forecast used later readings."""
