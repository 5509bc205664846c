"""The processes of the service: supervisor, core, scheduler, checks."""
