"""Routes of one site: charts, declarations, readings, and changes of its site file."""
