"""What leaves for other programs: tables, maps, SensorThings, a calendar."""
