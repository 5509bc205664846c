"""Alerts: the evaluation of a site, the life of an alert, acts of people, the audit of decisions."""
