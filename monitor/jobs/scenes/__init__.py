"""Scenes as jobs: the inbox, one scene after the other, versions, rows, and what waits."""
