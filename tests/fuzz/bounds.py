"""Small files, and small texts, that once took a machine's memory or never came to an end; each is
a case of its own.

`python -m tests.fuzz.bounds FOLDER` reads all of them within bounds of memory and of CPU, and prints
a line for each: how it was refused, or what else came of it.
"""

import json
import os
import resource
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import planner as pl
from planner.calibration.measurements import read_measurements
from planner.errors import PlannerError
from planner.studies import read_claims, sweep
from planner.studies.sweeps.specs import read_spec

ROOM_BYTES = 400 * 10**6
MOST_CPU_S = 20
SOFTWARE = 'name = "{name}"\nkernels_of = "{next}"\ncollectives_of = ["{next}", "{next}"]\n'
POOL = '[[pool]]\nname = "a"\ntopology = "{}"\n'


def written(folder: Path, name: str, text: str) -> Path:
    """A file of that text."""
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def chained(folder: Path) -> Any:
    """26 stacks of which each takes from the next, twice."""
    for number in range(26):
        text = SOFTWARE.format(name=f"s{number}", next=f"s{number + 1}.toml")
        written(folder, f"s{number}.toml", text if number < 25 else 'name = "s25"\n')
    return pl.load_topology("hgx-h100", software=str(folder / "s0.toml"))


def doubled(folder: Path) -> Any:
    """Five stacks of which each takes the collectives of the next many times."""
    for number in range(5):
        names = ", ".join([f'"d{number + 1}.toml"'] * 20)
        last = 'name = "d4"\ncollectives_of = ["nccl"]\n'
        text = f'name = "d{number}"\ncollectives_of = [{names}]\n' if number < 4 else last
        written(folder, f"d{number}.toml", text)
    return pl.load_topology("hgx-h100", software=str(folder / "d0.toml"))


def selfish(folder: Path) -> Any:
    """A stack that takes from itself."""
    path = written(folder, "self.toml", SOFTWARE.format(name="self", next="self.toml"))
    return pl.load_topology("hgx-h100", software=str(path))


def machine(text: str) -> Callable[[Path], Any]:
    """A machine's file of that text."""
    return lambda folder: pl.load_topology(written(folder, "machine.toml", text))


def many_keys(folder: Path) -> Any:
    """A machine's file of a million keys."""
    return machine("".join(f"k{number} = 1\n" for number in range(10**6)))(folder)


def of_device(folder: Path) -> Any:
    """An ONNX file that never ends."""
    link = folder / "zero.onnx"
    if not link.is_symlink():
        link.symlink_to("/dev/zero")
    return pl.load_model(link)


def of_pipe(folder: Path) -> Any:
    """An ONNX file that nobody writes to."""
    pipe = folder / "pipe.onnx"
    if not pipe.exists():
        os.mkfifo(pipe)
    return pl.load_model(pipe)


def layers(count: int, **others: Any) -> Callable[[Path], Any]:
    """A config of 200 bytes with so many layers."""
    fields = {
        "model_type": "llama",
        **others,
        "hidden_size": 64, "num_attention_heads": 4, "vocab_size": 100,
        "intermediate_size": 64, "num_hidden_layers": count,
    }  # fmt: skip
    return lambda folder: pl.load_model(written(folder, "layers.json", json.dumps(fields)))


def numbers(count: int) -> str:
    """A list of the first whole numbers."""
    return ", ".join(str(number + 1) for number in range(count))


def long_sweep(folder: Path) -> Any:
    """Nine million workloads in two lists."""
    text = (
        'models = ["llama-3.2-1b"]\ntopologies = ["hgx-h100"]\n[[workload]]\n'
        f"batch_size = [{numbers(3000)}]\nprompt_tokens = [{numbers(3000)}]\n"
    )
    return read_spec(written(folder, "sweep.toml", text))


def wide_sweep(folder: Path) -> Any:
    """Nine million cells of names."""
    models, machines = ["llama-3.2-1b"] * 3000, ["hgx-h100"] * 3000
    return sweep(models, machines, pl.Workload(), file=None, progress=False)


def row(text: str) -> Callable[[Path], Any]:
    """A table of measurements with that row."""
    columns = "row_id,field,value,topology,model\n"
    return lambda folder: read_measurements(written(folder, "rows.csv", columns + text))


def claim(text: str) -> Callable[[Path], Any]:
    """A file of claims with that field."""
    words = f'[[claim]]\nname = "a"\n{text}\n'
    return lambda folder: read_claims(written(folder, "claims.toml", words))


def linked(folder: Path) -> Any:
    """A stack that is named by a link out of the folder."""
    link = folder / "linked.toml"
    if not link.is_symlink():
        link.symlink_to("/etc/hostname")
    return machine('name = "m"\nchip = "h100-sxm"\nsoftware = "linked.toml"\n')(folder)


def stages(text: str) -> Callable[[Path], Any]:
    """A plan of such stages."""
    return lambda _: pl.Plan.from_json('{"stages": [' + text + "{}]}")


def operators(folder: Path) -> Any:
    """An operator graph for ten million million devices."""
    node = {"id": 0, "fpgaLatency": 1, "cpuLatency": 1}
    fields = {
        "maxFPGAs": 10**13, "maxCPUs": 1, "maxSizePerFPGA": 1, "nodes": [node], "edges": []
    }  # fmt: skip
    return pl.load_operators(written(folder, "operators.json", json.dumps(fields)))


CASES: dict[str, Callable[[Path], Any]] = {
    "a chain of stacks": chained,
    "a stack twenty times": doubled,
    "a stack of itself": selfish,
    "a stack that is a device": machine('name = "m"\nchip = "h100-sxm"\nsoftware = "/dev/zero"'),
    "a stack above": machine('name = "m"\nchip = "h100-sxm"\nsoftware = "../other.toml"'),
    "a stack that is a link out": linked,
    "a key of many parts": machine(".".join(["a"] * 100_000) + " = 1\n"),
    "quoted parts": machine(".".join(['"a b"'] * 30_000) + " = 1\n"),
    "a long list": machine("x = [" + "1, " * 10**6 + "]"),
    "many keys": many_keys,
    "a pool that is a file": lambda folder: pl.load_cluster(
        written(folder, "cluster.toml", 'name = "c"\n' + POOL.format("/etc/passwd"))
    ),
    "a billion layers": layers(10**9),
    "experts up to a layer that is not there": layers(
        4,
        model_type="mixtral",
        num_local_experts=4,
        num_experts_per_tok=5,  # more than there are: refused, and soon
        moe_layer_end_index=10**8,
    ),
    "a device": of_device,
    "a pipe": of_pipe,
    "many workloads": long_sweep,
    "many cells": wide_sweep,
    "a long field": row("a" * 200_000 + ",tpot_s,1,hgx-h100,\n"),
    "many rows": row("a,tpot_s,1,hgx-h100,\n" * 150_000),
    "a row's machine": row("a,tpot_s,1,/dev/zero,llama-3.2-1b\n"),
    "a row's model": row("a,tpot_s,1,hgx-h100,../../etc/passwd.json\n"),
    "a claim's model": claim('model = "/etc/passwd.json"'),
    "a claim's machine": claim('topology = "../machine.toml"'),
    "empty stages": stages("{}, " * 200_000),
    "strange stages": stages('{"a": 1}, ' * 10**6),
    "strange fields": lambda _: pl.Plan.from_json(
        "{" + ", ".join(f'"k{number}": 0' for number in range(200_000)) + "}"
    ),
    "endless layers": lambda _: pl.load_model("llama-3.2-1b").replace(layers=iter(int, 1)),
    "many devices": operators,
}


def main(folder: Path) -> None:
    """Read all, and say what came of each."""
    pl.load_topology("hgx-h100", software="vllm")
    pl.load_model("llama-3.2-1b")
    status = Path("/proc/self/status").read_text(encoding="ascii")
    size = int(status.partition("VmSize:")[2].split()[0]) * 1024
    resource.setrlimit(resource.RLIMIT_AS, (size + ROOM_BYTES, size + ROOM_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (MOST_CPU_S, MOST_CPU_S))
    for name, call in CASES.items():
        try:
            said = f"answered with a {type(call(folder)).__name__}"
        except PlannerError as error:
            said = f"refused: {error}"
        except BaseException as error:
            said = f"{type(error).__name__}: {error}"
        print(json.dumps([name, said]), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
