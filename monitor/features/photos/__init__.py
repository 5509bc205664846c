"""Photos of the slope that people attach to alerts and reports."""
