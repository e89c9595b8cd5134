"""What runs: layers and their operators, what these demand, and the shapes that they are made from.

Knows records and units; nothing of machines, prices or plans.
"""
