"""Import files from servers and from watched folders."""
