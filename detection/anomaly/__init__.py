"""Score how unusual readings are, and choose thresholds that keep the false alarms within a budget."""
