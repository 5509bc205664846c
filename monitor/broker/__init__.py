"""Access to the MQTT broker: addresses, client, logins, signatures, log, and tests of a broker."""
