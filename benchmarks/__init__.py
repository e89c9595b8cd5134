"""Speed and size: `python -m benchmarks` prints a table; `--save` and `--against` compare two
states of the code."""
