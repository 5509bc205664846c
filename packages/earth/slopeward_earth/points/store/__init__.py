"""What was seen at points, their lines and squares on a map, their forecasts."""
