"""The page, the JSON API and the metrics, in a process of its own."""
