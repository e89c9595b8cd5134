"""Arguments and options of the commands, with their help."""

from pathlib import Path
from typing import Annotated

import typer

from planner.cli import completing
from planner.cli.values import checked_seconds, checked_space, rows_shape_of, shape_of

ModelName = Annotated[
    str,
    typer.Argument(
        help="A name of the catalogue (see `planner models`), or a config.json.",
        autocompletion=completing.model_names,
    ),
]
TopologyName = Annotated[
    str,
    typer.Argument(
        help="NAME of the catalogue (see `planner topologies`), NAME:CHIPS, or a TOML file.",
        autocompletion=completing.machine_names,
    ),
]
Weights = Annotated[
    str | None, typer.Option("--weights", help="Format of the weights; default: as published.")
]
Kv = Annotated[str, typer.Option("--kv", help="Format of the KV cache.")]
Sparsity = Annotated[
    str | None,
    typer.Option("--sparsity", help="Prune the layers: '2:4', or a share of zeros, '90 %'."),
]
Steps = Annotated[int | None, typer.Option("--steps", help="Denoising steps of a diffusion model.")]
Height = Annotated[int | None, typer.Option("--height", help="Height of a picture in pixels.")]
Width = Annotated[int | None, typer.Option("--width", help="Width of a picture in pixels.")]
Frames = Annotated[int | None, typer.Option("--frames", help="Frames of a video.")]
Dimensions = Annotated[
    list[str] | None,
    typer.Option("--dimension", help="Size of an open axis of an ONNX file: batch=1."),
]
Batch = Annotated[
    str | None,
    typer.Option(
        "--batch",
        help="Sequences in flight in the whole deployment ('64', '1k'), or 'max', as many as are"
        " best; default: 8, or max where what is asked for is better with more of them.",
    ),
]
Rate = Annotated[
    str | None,
    typer.Option(
        "--rate", help="Requests a second of all users ('30', '1.5k/s'), in place of a batch."
    ),
]
Prompt = Annotated[
    str, typer.Option("--prompt", help="Prompt tokens of a request: '1024', '128k', '128Ki'.")
]
Output = Annotated[str, typer.Option("--output", help="Output tokens of a request.")]
Cached = Annotated[
    str,
    typer.Option(
        "--cached-share", help="Share of each prompt that is in the cache already: '0.4', '40 %'."
    ),
]
Arrivals = Annotated[
    str,
    typer.Option(
        "--arrivals",
        help="steady: a finished request is replaced; together: one batch; poisson: requests arrive"
        " at random, at --rate or as many as keep the limits.",
    ),
]
Chips = Annotated[
    int | None, typer.Option("--chips", help="How many chips; default: as the catalogue has them.")
]
Stack = Annotated[
    str | None,
    typer.Option(
        "--software",
        help="Software stack; default: the machine's.",
        autocompletion=completing.software_names,
    ),
]
Usable = Annotated[
    str | None,
    typer.Option(
        "--usable-memory",
        help="Share of a chip's memory that the engine is started with, such as 0.95 or '95 %';"
        " default: as the software says.",
    ),
]
Excluded = Annotated[
    str | None,
    typer.Option("--exclude", help="Chips that have failed or are taken: '3', '0,4-7'."),
]
Scope = Annotated[
    str | None,
    typer.Option(
        "--power-scope",
        help="chip, system or facility (with what the site loses); default: the system where that"
        " is known.",
    ),
]
Drawn = Annotated[
    str | None,
    typer.Option(
        "--power-basis",
        help="drawn or provisioned; default: drawn where that is known.",
    ),
]
Basis = Annotated[
    str | None,
    typer.Option(
        "--price-basis",
        help="What a price pays for: chip, node (with its share of hosts and network), rental, lease"
        " or token; default: node, else rental, lease, chip.",
    ),
]
Hourly = Annotated[
    list[str] | None,
    typer.Option(
        "--price",
        help="Price of each chip: '2.10 USD/h', a lease of '20000 USD/month', or what is asked for"
        " tokens in and out, '0.59/0.79 USD/Mtok'; of one of several machines, by its name or"
        " label: 'hgx-h100=2.10 USD/h', once for each; default: the machine's.",
    ),
]
Licence = Annotated[
    str | None,
    typer.Option(
        "--licence", help="Price of software for each chip bought or leased: '4500 USD/year'."
    ),
]
Lifetime = Annotated[
    str | None,
    typer.Option(
        "--lifetime-years", help="Lifetime of what is bought: '5', '5 years'; default: 4."
    ),
]
PowerPrice = Annotated[
    str | None,
    typer.Option("--usd-per-kwh", help="Price of power: '0.08', '0.08 USD/kWh'; default: 0.10."),
]
Pue = Annotated[
    float | None,
    typer.Option(
        "--pue", help="Power of the site over the power of its machines (PUE); default: 1.2."
    ),
]
Utilisation = Annotated[
    str | None,
    typer.Option(
        "--utilisation",
        help="Share of all hours in which the machine serves: '0.6', '60 %'; default: 1.",
    ),
]
Draft = Annotated[
    str | None,
    typer.Option(
        "--draft",
        help="Model that drafts tokens, or 'lookup': from the text so far (n-grams).",
        autocompletion=completing.model_names,
    ),
]
Drafted = Annotated[
    str, typer.Option("--speculative-tokens", help="Tokens drafted for each pass, or 'best'.")
]
Acceptance = Annotated[
    str | None,
    typer.Option(
        "--acceptance",
        help="Acceptance rate of drafted tokens: '0.7', '70 %'; default: as usual for the kind.",
    ),
]
Kind = Annotated[
    str | None,
    typer.Option("--draft-kind", help="mtp, eagle, eagle3, draft-model or ngram."),
]
Minimize = Annotated[
    str | None,
    typer.Option(
        "--minimize",
        help="Field of the score (see `planner fields`); default: tpot_s (diffusion: image_s).",
        autocompletion=completing.field_names,
    ),
]
Maximize = Annotated[
    str | None,
    typer.Option("--maximize", help="Field of the score.", autocompletion=completing.field_names),
]
Limit = Annotated[
    list[str] | None,
    typer.Option(
        "--limit",
        help="Worst value of a field: tpot_s=20ms, or in SI units tpot_s=0.02.",
        autocompletion=completing.limit_names,
    ),
]
Sure = Annotated[
    str | None,
    typer.Option(
        "--sure",
        help="Keep each limit with this probability, such as 0.8 or '80 %', given the error of the"
        " price.",
    ),
]
TimeLimit = Annotated[
    str | None,
    typer.Option(
        "--time-limit", help="Seconds, or '2 min'; default: none.", callback=checked_seconds
    ),
]
MemoryLimit = Annotated[
    str | None,
    typer.Option(
        "--memory-limit",
        help="What the large tables of a solve may take, such as 4GB, at least 100MB; the program"
        " itself takes about 100MB besides; default: half of this computer's memory.",
    ),
]
Shape = Annotated[str, typer.Option("--format", help="table or json.", callback=shape_of)]
RowsShape = Annotated[
    str, typer.Option("--format", help="table, json or csv.", callback=rows_shape_of)
]

SpaceName = Annotated[
    str,
    typer.Option(
        "--space",
        help="engine: plans that the machine's software can run; any: all plans.",
        callback=checked_space,
    ),
]
EngineName = Annotated[
    str,
    typer.Option(
        "--solver", "--engine", help="auto, or cp-sat: OR-Tools CP-SAT solves the question instead."
    ),
]
Seed = Annotated[int, typer.Option("--seed", help="Random seed.")]
SharedTokens = Annotated[
    bool,
    typer.Option(
        "--sequence-parallel",
        help="Also split the tokens of a sequence over chips, for long prompts.",
    ),
]
Why = Annotated[
    bool,
    typer.Option(
        "--why",
        help="Also say what limits the plan, what better hardware brings, and what other plans reach.",
    ),
]
PlanOut = Annotated[Path | None, typer.Option("--out", help="Write the plan here, as JSON.")]
SizingOut = Annotated[Path | None, typer.Option("--out", help="Write the answer here, as JSON.")]
CertificateOut = Annotated[
    Path | None,
    typer.Option("--certificate", help="Write what `planner verify` needs here, as JSON."),
]
CertificateFile = Annotated[
    Path,
    typer.Argument(
        help="A certificate, as --certificate of `planner plan` or `planner cluster` writes it."
    ),
]
ProvedAgain = Annotated[
    bool,
    typer.Option(
        "--again", help="Also let OR-Tools CP-SAT prove it anew, from the question alone."
    ),
]
DecodeMachine = Annotated[
    str | None,
    typer.Argument(
        help="Machine of the decode pool; default: the chips of the first are shared out.",
        autocompletion=completing.machine_names,
    ),
]
ExpertMachine = Annotated[
    str,
    typer.Argument(
        help="Machine of the feed-forward parts: a name of the catalogue, or a file.",
        autocompletion=completing.machine_names,
    ),
]
ExpertChips = Annotated[
    int | None, typer.Option("--expert-chips", help="Chips of the second machine.")
]
LinkBandwidth = Annotated[
    str, typer.Option("--link", help="Bandwidth from one pool to the other: '50 GB/s'.")
]
LinkLatency = Annotated[str, typer.Option("--link-latency", help="Latency of that link: '10 us'.")]
DecodeChips = Annotated[
    int | None, typer.Option("--decode-chips", help="Chips of the second machine.")
]
ClusterName = Annotated[
    str,
    typer.Argument(
        help="A cluster of the catalogue (see `planner clusters`), or a TOML file.",
        autocompletion=completing.cluster_names,
    ),
]
Unlike = Annotated[
    bool,
    typer.Option(
        "--unlike",
        help="Share the pools out between unlike deployments, for the most tokens a second.",
    ),
]
PlanFile = Annotated[
    Path | None,
    typer.Option("--plan", help="A plan in JSON, as `planner plan --out` writes it."),
]
Machines = Annotated[
    list[str],
    typer.Argument(
        help="Machines, each as NAME or NAME:CHIPS; LABEL=NAME where one stands in several rows,"
        " such as clouds with prices of their own.",
        autocompletion=completing.machine_names,
    ),
]
Tensor = Annotated[int, typer.Option("--tensor", help="Tensor parallel degree.")]
Pipeline = Annotated[int, typer.Option("--pipeline", help="Pipeline parallel degree.")]
Expert = Annotated[int, typer.Option("--expert", help="Expert parallel degree.")]
Data = Annotated[int, typer.Option("--data", help="Data parallel degree.")]
MicroBatches = Annotated[
    int | None,
    typer.Option(
        "--micro-batches",
        help="Micro-batches in flight; default: as many as the software keeps. A plan is only looked"
        " for with another number where --space is any.",
    ),
]
