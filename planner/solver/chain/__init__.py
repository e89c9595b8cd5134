"""The best way to cut a chain of layers into runs and to place them: arrays in, runs and a bound
out.

Knows numpy and OR-Tools; nothing of models, machines or prices.
"""
