"""How processes and instruments reach the broker: addresses, logins, signatures."""
