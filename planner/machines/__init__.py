"""What it runs on: chips, fabrics, software stacks, and clusters of unlike pools.

Knows records, units, number formats and the shape of a plan; nothing of layers or prices.
"""
