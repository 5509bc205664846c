"""What can be wrong with the service: one table, read by all who say it."""
