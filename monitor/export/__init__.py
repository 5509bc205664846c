"""What several ways out of the service share: features of GeoJSON, rows of CSV, calendars."""
