"""Replays a known incident: drawn records, the claims of each side as data, the real rules."""
