import pytest

from planner import (
    Topology,
    Workload,
    check_plan,
    load_model,
    load_topology,
    pareto,
    partition,
    score_plan,
    uniform_plan,
)
from planner.catalogue import find_chip, find_host, find_software, load_software
from planner.errors import InputError
from planner.pricing.stacks import class_of, machine_for
from planner.readers.topology_file import topology_from
from planner.studies import what_if

PICTURES = load_model("sd3-medium", weight_dtype="bf16")
BERT = load_model("bert-large", weight_dtype="bf16")
TOKENS = load_model("llama-3.1-8b")


@pytest.mark.parametrize(
    ("machine", "language", "diffusion", "encoder"),
    [
        ("hgx-h100", "tensorrt-llm", "diffusers", "tensorrt"),
        ("mi300x-8", "vllm", "diffusers", "pytorch"),
        ("rtx-4090", "llama.cpp", "diffusers", "llama.cpp"),
        ("xeon-8380", "deepsparse", "deepsparse", "deepsparse"),
        ("groq-lpu-chain", "groq-compiler", "groq-compiler", "groq-compiler"),
    ],
)
def test_models_run_in_stacks_that_are_made_for_them(machine, language, diffusion, encoder):
    topology = load_topology(machine)
    found = [machine_for(graph, topology).software.name for graph in (TOKENS, PICTURES, BERT)]
    assert found == [language, diffusion, encoder]


def test_a_stack_that_somebody_chose_runs_everything():
    chosen = load_topology("hgx-h100", software="vllm")
    assert machine_for(PICTURES, chosen) is chosen
    replaced = load_topology("hgx-h100").replace(software=load_software("tensorrt-llm"))
    assert machine_for(PICTURES, replaced) is replaced
    assert load_topology("hgx-h100").replace(chips=2).other_software


def test_who_names_a_server_of_language_models_for_others_means_its_builder():
    chosen = load_topology("hgx-h100", software="tensorrt-llm")
    found = [machine_for(graph, chosen).software.name for graph in (TOKENS, PICTURES, BERT)]
    assert found == ["tensorrt-llm", "tensorrt", "tensorrt"]


def test_figures_of_the_stack_follow_it():
    machine = machine_for(PICTURES, load_topology("hgx-h100"))
    direct = load_topology("hgx-h100", software="diffusers")
    assert {one.path for one in machine.figures} == {one.path for one in direct.figures}
    assert machine.software == direct.software
    assert machine_for(PICTURES, machine) is machine


def test_classes():
    assert [class_of(graph) for graph in (TOKENS, PICTURES, BERT)] == [None, "diffusion", "encoder"]


def test_every_verb_takes_the_same_stack():
    machine = load_topology("hgx-h100", chips=2)
    direct = load_topology("hgx-h100", chips=2, software="diffusers")
    work = Workload(batch_size=2)
    found = partition(PICTURES, machine, work, minimize="image_s")
    assert found.topology.software.name == "diffusers"
    assert found.score.image_s == score_plan(found.plan, PICTURES, machine, work).image_s
    assert found.score.image_s == score_plan(found.plan, PICTURES, direct, work).image_s
    assert check_plan(found.plan, PICTURES, machine, work) == ()

    words = Workload(batch_size=1, prompt_tokens=384, output_tokens=1)
    plan = uniform_plan(BERT, machine, data_parallel=2)
    direct = load_topology("hgx-h100", chips=2, software="tensorrt")
    assert score_plan(plan, BERT, machine, words) == score_plan(plan, BERT, direct, words)
    front = pareto(BERT, machine, words, fields=("ttft_s", "chips"))
    assert front.topology.software.name == "tensorrt"


def test_changes_of_the_stack_count():
    machine = load_topology("hgx-h100", chips=1)
    change = {"software.compute_efficiency": 0.9}
    made = what_if(PICTURES, machine, Workload(batch_size=1), change, minimize="image_s")
    assert made.after is not None
    assert made.before is not None
    assert made.after.score.image_s < 0.9 * made.before.score.image_s


def test_an_encoder_waits_for_no_server_of_a_language_model():
    words = Workload(batch_size=1, prompt_tokens=384, output_tokens=1)
    seconds = {
        name: partition(BERT, load_topology(name, chips=1), words, minimize="ttft_s").objective
        for name in ("hgx-h100", "xeon-8380")
    }
    assert seconds["hgx-h100"] < 0.01 < seconds["xeon-8380"]


def test_topologies_keep_their_other_stacks_in_files():
    machine = load_topology("hgx-h100")
    assert Topology.from_json(machine.to_json()) == machine


def test_names_of_other_stacks_must_be_names():
    fields = {"name": "x", "named_for": {"diffusion": 3}}
    _read(fields)  # of a stack that nobody named
    fields = {"name": "x", "other_models": {"diffusion": 3}}
    with pytest.raises(InputError, match=r"other_models\.diffusion must be the name"):
        _read(fields)
    with pytest.raises(InputError, match="models"):
        _read({"name": "x", "other_models": {"speech": "diffusers"}})


def _read(software):
    stack = {
        "kernel_overhead": "0 s",
        "compute_efficiency": 1.0,
        "memory_efficiency": 1.0,
        "prefill_chunk_tokens": 10,
        "usable_memory": 1.0,
        **software,
    }
    machine = {"name": "m", "chip": "h100-sxm", "chips": 1, "software": stack}
    return topology_from(
        machine,
        find_chip=find_chip,
        find_software=find_software,
        find_host=find_host,
        software=None,
    )


def test_a_traced_program_runs_once_and_so_where_encoders_do():
    last = BERT.layers[-1].replace(kind="outputs")
    assert class_of(BERT.replace(layers=(*BERT.layers[:-1], last))) == "encoder"
