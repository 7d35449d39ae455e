"""The commands that have a module of their own; `cli.py` attaches each by one line."""
