"""Explain forecasts of networks: which inputs a forecast depends on. A dependence is not a physical cause."""
