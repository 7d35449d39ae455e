"""The tests; folders mirror scanner/."""
