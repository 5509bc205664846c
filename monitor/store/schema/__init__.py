"""Tables, their column types, and the public views."""
