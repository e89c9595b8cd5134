"""What a step costs and how steps add up: the one price list of solver and score.

Knows models, machines, plans and the formulas of `cost`; nothing of searches.
"""
