"""Accuracy beside published figures; run with ``make bench``."""
