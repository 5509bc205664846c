"""What people write in files: the service file and the site files, read once and frozen."""
