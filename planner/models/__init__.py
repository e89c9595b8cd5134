"""What runs: layers and their operators, what these demand, and the shapes that they are made from.

Knows records, units and the graph that a solver takes; nothing of machines, prices or plans.
"""
