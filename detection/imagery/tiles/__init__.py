"""Map tiles in PMTiles files: draw shaded relief, check and copy files of users, and read single tiles."""
