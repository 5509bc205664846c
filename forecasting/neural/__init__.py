"""Networks in plain torch; the only room of the library that imports torch."""
