"""Which plans there are, lowered to the solver's arrays and lifted back to plans.

Knows scores, prices and the solver's problems; nothing of how answers show themselves.
"""
