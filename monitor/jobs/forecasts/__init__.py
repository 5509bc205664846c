"""Forecasting as jobs: train, issue, score, promote, and the alarms of models."""
