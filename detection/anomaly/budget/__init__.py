"""What a budget of false alarms buys, and how it is kept while a detector is served."""
