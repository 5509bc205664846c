"""Networks that outline landslides in images and of which no weights are shipped, one per file."""
