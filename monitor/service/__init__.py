"""The processes of the service: supervisor, core, evaluation, schedule, and what they say of themselves."""
