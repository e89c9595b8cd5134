"""The machine at hand: what was seen of it becomes a file that plans are made on; what is not seen
is asked of it, and what is not known of it is measured.

Knows the catalogue, to which what drivers call a chip is matched; nothing of plans or prices.
"""
