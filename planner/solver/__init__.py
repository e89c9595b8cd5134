"""Solvers: arrays in, rows out. They know chains of items, options and slots, and nothing of
models or machines."""
