"""The page, the JSON API and the metrics: a process of its own that reads, and writes only what a person signs."""
