"""What leaves the service as files and in the words of other standards: tables, maps, SensorThings, STAC, calendars."""
