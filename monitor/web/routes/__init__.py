"""The addresses of the page and of the JSON API, one file for each subject."""
