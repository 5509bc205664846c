"""What all rooms share: frozen records of the field, errors, texts, logs, extensions. No database, no network."""
