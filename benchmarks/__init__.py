"""One script per promise, printing ratios."""
