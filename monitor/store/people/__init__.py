"""Accounts, how they prove themselves, and what two of them sign."""
