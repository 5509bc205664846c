"""The command line `slopeward`. Each command is imported when it is called; `main` is the entry point."""
