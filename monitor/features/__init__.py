"""Built-in features, one package each, with the tables, jobs, pages, commands and checks of one subject.

A feature imports `monitor.api` and the libraries, but no other feature. The rest of `monitor` imports no feature.
"""
