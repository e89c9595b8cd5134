"""The best devices for the operators of a directed graph: arrays in, devices and a bound out.

Knows numpy and OR-Tools; nothing of models, machines or prices.
"""
