"""How the work is spread; one file per engine."""
