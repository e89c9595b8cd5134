"""Many questions over a grid of values, kept in a file, by several workers.

Knows the verbs.
"""
