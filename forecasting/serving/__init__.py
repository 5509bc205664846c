"""Forecasts that are issued: training jobs, the gate, intervals, promotion and withdrawal."""
