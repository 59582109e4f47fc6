"""One criterion a module: each is a pure `find_reason`, which returns None only when its criterion is met."""
