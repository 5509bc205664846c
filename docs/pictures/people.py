"""People and duty plan of the simulated slope in screenshots."""

# Replaces the recipients of the site file of the demo.
RECIPIENTS = """
[[recipient]]
name = "team:geologists"
levels = ["yellow", "orange", "red"]
escalate_after = "10m"
[[recipient]]
name = "R. Mori"
people = ["bo"]
channels = ["sms:MORI"]
phone = "+41 79 000 00 01"
[[recipient]]
name = "A. Rossi"
channels = ["email:rossi@example.org"]
phone = "+41 79 000 00 02"
[[recipient]]
name = "L. Frei"
people = ["ada"]
channels = ["push:ada"]
phone = "+41 79 000 00 03"
[[team]]
name = "geologists"
members = ["R. Mori", "A. Rossi", "L. Frei"]
lead = "L. Frei"
"""
DUTY_PLAN = """\
Mon-Fri 07:00 R. Mori, A. Rossi
Mon-Fri 19:00 A. Rossi, L. Frei
Sat 07:00 L. Frei, R. Mori
Sun 06:00 R. Mori, A. Rossi"""


def replace_recipients(site_file: str) -> str:
    """Return the site file of the demo with the people above, in the time zone of Zurich."""
    without_recipients = site_file[: site_file.index("[[recipient]]")]
    return without_recipients.replace('timezone = "UTC"', 'timezone = "Europe/Zurich"', 1) + RECIPIENTS
