"""Tables of papers, measured again on the data that can be had."""
