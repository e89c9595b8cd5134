"""What it runs on: chips, fabrics, software stacks, and clusters of unlike pools.

Knows records, units and the shape of a plan; nothing of models or prices.
"""
