"""Predictions against measurements: read them, compare, fit the constants of a software stack.

Knows the verbs and all below them; nothing of studies.
"""
