"""Screenshots of the page: for the documentation and for a review of all pages in five states of a site."""
