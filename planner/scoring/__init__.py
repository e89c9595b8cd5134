"""Any plan, whoever made it: the rules that it must keep, and its price.

Knows the price list; nothing of searches.
"""
