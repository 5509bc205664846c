"""What becomes of messages after they were sent: receipts, replies, devices, sirens, tests."""
