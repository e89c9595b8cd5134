"""One of many rows, and a cut of a chain: chosen together."""
