"""One file per verb; modules are imported when their verb is called."""
