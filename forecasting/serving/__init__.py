"""Forecasts that are issued: training, intervals, networks in the average, kinematic forecasts, what is shown."""
