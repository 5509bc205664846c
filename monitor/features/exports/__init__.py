"""What leaves for other programs: tables, maps, SensorThings, STAC, a calendar."""
