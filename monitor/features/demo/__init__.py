"""Everything in three minutes: broker, service, page and a simulated slope that fails."""
