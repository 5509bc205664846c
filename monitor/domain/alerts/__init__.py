"""The life of an alert, its causes, and what its messages say."""
