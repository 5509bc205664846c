"""Simple forecasts, which every network is compared with. They are used where no network is better."""
