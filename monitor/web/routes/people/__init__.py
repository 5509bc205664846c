"""Addresses of sign-in, accounts and signatures."""
