"""Files that are fetched from servers or put into a watched folder."""
