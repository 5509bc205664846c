"""The decision: series, criteria, votes, ladder, fusion and evidence; pure, and below the store."""
