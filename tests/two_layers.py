"""Two layers on two chips, whose every plan is worked out on paper."""

import planner as pl
from tests.by_hand import chain, layer, matmul, round_machine
from tests.engine_questions import ENGINES

GRAPH = chain(layer("first", matmul()), layer("second", matmul()))
"""100 B of weights a layer; one token of it reads 100 + 10 + 20 B at 10 B/s, and is a launch: 14 s;
two tokens 17 s."""
WORK = pl.Workload(phase="decode", batch_size=2, prompt_tokens=10, output_tokens=2)
REPLICAS_S = 28.0
"""Between the tokens of two sequences, each on a chip of its own."""
PIPELINE_S = 32.0
"""Of a pipeline: two stages, and 20 B over a link in 2 + 1 + 1 s."""
ALONE_S = 34.0
"""Of both sequences on one chip."""


def machine(chips: int = 2) -> pl.Topology:
    """Up to two chips that never share a layer."""
    return round_machine(chips, software={"engine": ENGINES[0], "most_tensor_parallel": 1})
