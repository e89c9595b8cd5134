"""The door for browsers and for programs that speak HTTP: a JSON API with its description, and one
plain page over it (`planner serve`).

Nothing here loads anything from a network.
"""
