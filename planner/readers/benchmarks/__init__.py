"""What tools that measure engines and collectives write, each format in a module."""
