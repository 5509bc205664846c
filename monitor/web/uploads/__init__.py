"""Files that people bring to the page: kept in the inbox, looked at in a worker, read in when they are accepted."""
