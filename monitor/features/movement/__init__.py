"""Movement of stations: stages, trends, failure windows."""
