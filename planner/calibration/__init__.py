"""Predictions against measurements: read them, compare, and fit the constants of a software
stack to them.

Knows the verbs; nothing of studies.
"""
