"""Data: the embedded digits, checks of arrays, targets, and splits."""
