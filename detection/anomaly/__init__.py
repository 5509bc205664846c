"""From a window of readings to an anomaly score and a threshold that keeps an alarm budget."""
