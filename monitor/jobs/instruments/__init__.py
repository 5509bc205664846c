"""How the instruments of a site do: what is found beside decisions, for the board and for notices."""
