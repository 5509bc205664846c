"""Point clouds of laser scanners and photogrammetry: read, gridded with their error, compared between dates."""
