"""The cost core: pure, cited functions. Floats or arrays in; seconds, bytes, joules, dollars out.

Knows nothing of ours: no model, no machine, no vendor.
"""
