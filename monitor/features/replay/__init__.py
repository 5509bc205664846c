"""Replay of the past of a site: backtests and scorecards."""
