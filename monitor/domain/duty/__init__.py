"""Who is on duty when, and at which hours people want to be left alone: the local time of a site, as pure functions."""
