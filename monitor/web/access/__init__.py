"""Who may ask for what, and how much: held before a request is read."""
