"""Routes of the web page and the JSON API, one module for each subject."""
