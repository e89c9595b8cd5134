"""Solvers: arrays in, rows out. Chains of items, options and slots, and graphs of units and nets.

Knows numpy and OR-Tools; nothing of ours, hence nothing of models or machines.
"""
