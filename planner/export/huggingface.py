"""A Python file that loads a model with transformers as a plan spreads it, and measures a batch.

Stages are a `device_map` in one process; tensor ranks are processes of `torchrun`.
"""

import json

from planner.export.hosts import seats_of
from planner.export.orders import Order, lengths_of, numbered, visible
from planner.export.scripts import Start, Words, in_place_of
from planner.launches.launch import Launch

MASTER_PORT = 29500
QUANTISES: tuple[str, ...] = ()
PROGRAM = "serve.py"
DTYPES = {"bf16": "bfloat16", "fp16": "float16", "fp32": "float32"}


def starts(order: Order) -> list[Start]:
    """One command an engine."""
    found = []
    for replica, chips in numbered(order):
        seat, *more = seats_of(order.launch, chips)
        command = _command(order.launch, replica)
        found.append(Start(replica, seat.node, len(more), (visible(order, seat.chips),), command))
    return found


def _command(launch: Launch, replica: int) -> Words:
    if launch.tensor_parallel == 1:
        return (("python3", PROGRAM),)
    return (
        ("torchrun",),
        ("--nproc-per-node", str(launch.tensor_parallel)),
        ("--master-port", str(MASTER_PORT + replica)),
        (PROGRAM,),
    )


def files(order: Order) -> dict[str, str]:
    """The program."""
    _, prompt, output = lengths_of(order)
    shares = order.launch.expert_parallel > 1
    dtype = DTYPES.get(order.launch.weight_format or "", "auto")
    return {
        PROGRAM: TEMPLATE.format(
            model=json.dumps(order.launch.model),
            spread=TENSOR if order.launch.tensor_parallel > 1 else _stages(order),
            dtype=json.dumps(dtype),
            imports=IMPORTED if shares else "",
            experts=EXPERTS if shares else "",
            batch=order.launch.most_sequences or 1,
            prompt=prompt,
            output=output,
        )
    }


def _stages(order: Order) -> str:
    runs = ",\n".join(
        f"    ({json.dumps(card)}, range({first}, {last}))"
        for card, first, last in layer_runs(order)
    )
    return STAGES.format(runs=runs, last=len(order.job.plan.stages) - 1)


def layer_runs(order: Order) -> list[tuple[int | str, int, int]]:
    """Where the decoder layers stand, in runs: a card, by its order among those that are seen, or
    the host; the first layer, and the one after the last."""
    runs: list[tuple[int | str, int, int]] = []
    for layer, where in enumerate(_places(order)):
        if runs and runs[-1][0] == where:
            runs[-1] = (where, runs[-1][1], layer + 1)
        else:
            runs.append((where, layer, layer + 1))
    return runs


def _places(order: Order) -> list[int | str]:
    graph = order.job.graph
    inner = {graph.names[number] for number in graph.inner_positions}
    return [
        "cpu" if name in stage.offloaded else card
        for card, stage in enumerate(order.job.plan.stages)
        for name in stage.layers
        if name in inner
    ]


TENSOR = 'LOADING["tp_plan"] = "auto"'
STAGES = '''RUNS = [
{runs},
]
"""Cards, and the decoder layers on each."""
ENDS = {{"model.embed_tokens": 0, "model.rotary_emb": 0, "model.norm": {last}, "lm_head": {last}}}
PLACES = {{f"model.layers.{{layer}}": card for card, run in RUNS for layer in run}}
LOADING["device_map"] = ENDS | PLACES'''
IMPORTED = "from transformers.distributed import DistributedConfig\n"
EXPERTS = 'LOADING["distributed_config"] = DistributedConfig(enable_expert_parallel=True)\n'
TEMPLATE = '''"""Loads the model as it was planned, and measures one batch."""

import time

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer
{imports}
MODEL = {model}
LOADING = {{"dtype": {dtype}}}
{spread}
{experts}
model = AutoModelForCausalLM.from_pretrained(MODEL, **LOADING).eval()
vocabulary = len(AutoTokenizer.from_pretrained(MODEL))
batch, prompt, output = {batch}, {prompt}, {output}
tokens = torch.randint(0, vocabulary, (batch, prompt), device=model.device)
with torch.inference_mode():
    model.generate(tokens[:, :8], max_new_tokens=2, min_new_tokens=2, do_sample=False)
    begin = time.perf_counter()
    model.generate(tokens, max_new_tokens=output, min_new_tokens=output, do_sample=False)
    took = time.perf_counter() - begin
print(f"{{batch * output / took:.1f}} output tokens a second, {{took:.2f}} s for the batch")
'''


def decided(order: Order) -> list[str]:
    """What it decides by itself."""
    sentences = ["its kernels for attention (attn_implementation) and how its cache grows"]
    if order.launch.tensor_parallel > 1:
        sentences.append("which matrices are split: the model's own base_model_tp_plan")
    else:
        sentences.append(
            "nothing of the cut; models whose parts have other names than model.layers need them"
            " changed in device_map"
        )
    return sentences


def benchmark(order: Order, url: str) -> Words:
    """The program itself measures one batch."""
    return in_place_of(starts(order)[0])
