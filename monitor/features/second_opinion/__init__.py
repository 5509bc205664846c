"""Compare Slopeward with a system that an office already has: its alarms, and a report after a trial."""
