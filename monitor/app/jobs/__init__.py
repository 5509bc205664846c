"""Jobs of the kernel: backups and housekeeping."""
