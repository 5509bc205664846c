"""The decision: votes, ladder and fusion, pure functions of what was known, and the loop that stores them."""
