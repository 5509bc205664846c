"""SQL of forecasts."""
