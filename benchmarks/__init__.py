"""Side-by-side measurements with peers; each module is a command that prints a table."""
