"""A scene as it was taken: its bands, its units, its nodata, and whether a network knows such values."""
