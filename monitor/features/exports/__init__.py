"""Tables, maps, SensorThings and a calendar for other programs."""
