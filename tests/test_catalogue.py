"""The catalogue: names, the figures behind them, and machines of other sizes."""

import csv
import re
from pathlib import Path

import pytest

import planner as pl
from planner import catalogue
from planner.catalogue import (
    load_software,
    model_aliases,
    model_table,
    sources,
    topologies_folder,
    topology_aliases,
    topology_table,
)
from planner.errors import plain_name
from planner.machines.tiers import second_tier
from planner.machines.topology import with_value
from planner.pricing.operator_table import operator_facts
from planner.readers.files import read_toml
from tests.instances import tiny_topology
from tests.lanes import spread

with (Path(__file__).parent / "data" / "datasheets.csv").open() as table:
    DATASHEETS = {row["topology"]: row for row in csv.DictReader(table)}

with (Path(__file__).parent / "data" / "true_counts.csv").open() as table:
    COUNTS = {row["name"]: row for row in csv.DictReader(table)}

COUNTED = {
    "between",
    "chips",
    "most_chips",
    "units",
    "dimensions",
    "most_ranks",
    "least_units",
    "most_stages",
}
"""Numbers that say how a machine is put together, and so need no source."""

EXPECTED = (Path(__file__).parent / "data" / "machines.txt").read_text(encoding="utf-8").split()
"""Machines that measurements and designs speak of."""


def numbers_of(fields, path=""):
    """Paths of the numbers in nested data, without those that count."""
    if isinstance(fields, dict):
        entries = [
            (f"{path}.{key}".removeprefix("."), value)
            for key, value in fields.items()
            if key not in COUNTED
        ]
    elif isinstance(fields, list | tuple):
        entries = [(f"{path}[{number}]", value) for number, value in enumerate(fields)]
    else:
        return {path} if isinstance(fields, int | float) and not isinstance(fields, bool) else set()
    return set().union(*(numbers_of(value, where) for where, value in entries))


def refusal(load, *given, **options):
    with pytest.raises(pl.InputError) as refused:
        load(*given, **options)
    assert "\n" not in str(refused.value)
    return refused.value


# ── Figures ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", pl.topology_names())
def test_every_number_of_a_machine_has_a_figure(name):
    machine = pl.load_topology(name)
    # Prices on other bases, and racks, say themselves where they come from, and what was measured
    # and left out of fits is told of all rows, by the calibration.
    others = {
        "figures": True,
        "rack": True,
        "price": {"offers", "economics", "licence_usd_per_chip_year"},
        "software": {"covers", "widenings"},
    }
    stated = machine.model_dump(exclude_unset=True, exclude=others)
    alike = {
        f"software.residuals[{number}].half_width"
        for number, residual in enumerate(machine.software.residuals)
        if residual.like
    }
    assert numbers_of(stated) - alike == {figure.path for figure in machine.figures}


@pytest.mark.parametrize("name", pl.topology_names())
def test_every_figure_has_a_source_that_is_explained_and_a_confidence(name):
    machine = pl.load_topology(name)
    figures = machine.figures + (machine.rack.figures if machine.rack else ())
    assert [figure.path for figure in figures if not sources().get(figure.source)] == []
    assert [figure.path for figure in figures if figure.confidence == "stated"] == []


@pytest.mark.parametrize("name", pl.topology_names())
def test_every_price_has_a_source_that_is_explained_and_a_confidence(name):
    offers = pl.load_topology(name).price.offers
    assert [offer.basis for offer in offers if not sources().get(offer.source)] == []
    assert [offer.basis for offer in offers if offer.confidence == "stated"] == []
    guessed = [offer for offer in offers if offer.confidence == "guess"]
    assert all(offer.note for offer in guessed)


@pytest.mark.slow
@pytest.mark.parametrize("name", pl.topology_names())
def test_every_figure_stands_at_its_path(name):
    machine = pl.load_topology(name)
    wrong = [f.path for f in machine.figures if with_value(machine, f.path, f.value) != machine]
    assert wrong == []


@pytest.mark.parametrize("name", pl.software_names())
def test_every_figure_of_a_software_stack_has_a_source_that_is_explained(name):
    machine = pl.load_topology("hgx-h100", software=name)
    figures = [figure for figure in machine.figures if figure.path.startswith("software.")]
    assert len(figures) >= 5
    assert [figure.path for figure in figures if not sources().get(figure.source)] == []
    assert [figure.path for figure in figures if figure.confidence == "stated"] == []


@pytest.mark.parametrize("name", pl.software_names())
def test_every_stack_states_the_rules_of_its_engine_or_that_none_are_known(name):
    stated = topologies_folder() / "software" / f"{name}.toml"
    assert "[engine]" in stated.read_text(encoding="utf-8")
    engine = pl.load_topology("hgx-h100", software=name).software.engine
    assert sources().get(engine.source)
    assert engine.confidence != "stated"
    assert engine.note
    assert engine.note.startswith("none are known") != engine.is_known
    assert bool(engine.version) == engine.is_known


def test_every_source_is_explained_in_words():
    assert [name for name, text in sources().items() if len(text.split()) < 3] == []


@pytest.mark.parametrize("name", pl.model_names())
def test_every_model_is_a_chain_with_a_source_and_a_confidence(name):
    graph = pl.load_model(name)
    assert graph.is_chain
    assert graph.source
    assert graph.confidence in ("A", "B", "C", "M", "guess")
    assert graph.is_diffusion or graph.most_context_tokens >= 512


@pytest.mark.parametrize(
    ("name", "weights", "counted"),
    [
        ("deepseek-v3.2", None, "deepseek-ai--DeepSeek-V3.2"),
        ("deepseek-v3.2", "nvfp4", "nvidia--DeepSeek-V3.2-NVFP4"),
        ("glm-5", None, "zai-org--GLM-5"),
        ("glm-5", "fp8", "zai-org--GLM-5-FP8"),
        ("glm-5", "nvfp4", "nvidia--GLM-5-NVFP4"),
        ("kimi-k2.5", None, "moonshotai--Kimi-K2.5"),
        ("kimi-k2.5", "nvfp4", "nvidia--Kimi-K2.5-NVFP4"),
        ("qwen3.5-397b-a17b", None, "Qwen--Qwen3.5-397B-A17B"),
        ("qwen3.5-397b-a17b", "nvfp4", "nvidia--Qwen3.5-397B-A17B-NVFP4"),
        ("minimax-m2.5", None, "MiniMaxAI--MiniMax-M2.5"),
    ],
)
def test_weights_take_the_bytes_of_the_published_checkpoint(name, weights, counted):
    true = COUNTS[counted]
    graph = pl.load_model(name, weight_dtype=weights)
    assert graph.weight_bytes == pytest.approx(float(true["weight_bytes"]), rel=1e-3)
    assert graph.parameters == pytest.approx(float(true["parameters"]), rel=1e-3)
    assert graph.parameters_active == pytest.approx(float(true["active"]), rel=1e-3)


def test_another_format_of_a_stated_config_is_that_of_all_matrices_where_none_is_published():
    graph = pl.load_model("phi-4", weight_dtype="int8")
    assert graph.weight_bytes == pytest.approx(graph.parameters, rel=1e-3)


@pytest.mark.parametrize("name", DATASHEETS)
def test_machines_are_as_on_their_data_sheets(name):
    row, machine = DATASHEETS[name], pl.load_topology(name)
    memory, fabric = machine.chip.memory[0], machine.fabrics[0]
    assert memory.capacity_bytes == pytest.approx(1e9 * float(row["memory_gb"]))
    assert memory.bandwidth_bytes_per_s == pytest.approx(1e12 * float(row["memory_tb_per_s"]))
    assert machine.chip.peak_flop_per_s(row["dtype"]) == pytest.approx(
        1e12 * float(row["peak_tflop_per_s"])
    )
    assert fabric.bandwidth_bytes_per_s == pytest.approx(1e9 * float(row["link_gb_per_s"]))


# ── Names ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def spellings(name):
    return (
        name,
        name.upper(),
        name.replace("-", "_"),
        name.replace("-", " ").title(),
        plain_name(name),
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", [*pl.topology_names(), *topology_aliases()])
def test_a_machine_is_found_whatever_its_case_and_punctuation(name):
    meant = topology_aliases().get(name, name)
    assert {pl.load_topology(spelling).name for spelling in spellings(name)} == {meant}


@pytest.mark.slow
@pytest.mark.parametrize("name", [*pl.model_names(), *model_aliases()])
def test_a_model_is_found_whatever_its_case_and_punctuation(name):
    meant = model_aliases().get(name, name)
    assert {pl.load_model(spelling).name for spelling in spellings(name)} == {meant}


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("DeepSeek-V3.2-Exp", "deepseek-v3.2"),
        ("deepseek-ai/DeepSeek-V3.2", "deepseek-v3.2"),
        ("GLM 4.6", "glm-4.7"),
        ("Kimi-K2-Thinking", "kimi-k2.5"),
        ("Qwen/Qwen3-Next-80B-A3B-Instruct", "qwen3-next-80b-a3b"),
        ("MiniMax-M2", "minimax-m2.5"),
        ("mistralai/Mistral-Large-3-675B-Instruct-2512", "mistral-large-3"),
        ("google/gemma-3-4b-it", "gemma-3-4b"),
        ("phi4", "phi-4"),
        ("nvidia/NVIDIA-Nemotron-3-Nano-30B-A3B-BF16", "nemotron-3-nano-30b-a3b"),
        ("Nemotron-3-Super", "nemotron-3-super-120b-a12b"),
        ("FLUX.2-dev", "flux-2"),
        ("Qwen/Qwen-Image", "qwen-image"),
        ("Sora", "sora-like"),
    ],
)
def test_models_of_today_are_found_as_people_type_them(typed, meant, monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    assert pl.load_model(typed).name == meant


@pytest.mark.parametrize(
    ("entries", "aliases"),
    [(model_table(), model_aliases()), (topology_table(), topology_aliases())],
)
def test_no_two_entries_answer_to_one_name(entries, aliases):
    meant = {}
    for name, entry in [*((name, name) for name in entries), *aliases.items()]:
        meant.setdefault(plain_name(name), set()).add(entry)
    assert {name: both for name, both in meant.items() if len(both) > 1} == {}


def test_a_question_about_one_machine_reads_the_files_of_that_machine_alone(monkeypatch):
    pl.load_topology("dgx-h100")
    read = []

    def noted(path, what):
        read.append(path.name)
        return read_toml(path, what)

    monkeypatch.setattr(catalogue, "read_toml", noted)
    catalogue.reread()
    machine = pl.load_topology("hgx-h100")
    assert machine == pl.load_topology("hgx-h100")
    assert read == ["hgx-h100.toml", "h100-sxm.toml", *read[2:]]
    assert len(read) == len(set(read)) < 12
    assert "dgx-h100.toml" not in read


def test_a_file_is_called_as_the_machine_in_it():
    assert {
        name: fields["name"] for name, fields in topology_table().items() if fields["name"] != name
    } == {}


@pytest.mark.parametrize(
    ("load", "wrong", "kind", "nearest"),
    [
        (pl.load_model, "lama-3.1-70b", "model", "llama-3.1-70b"),
        (pl.load_model, "mixtral", "model", "mixtral-8x7b"),
        (pl.load_model, "deepseek-v3.3", "model", None),
        (pl.load_topology, "hgx-h10", "topology", "hgx-h100"),
        (pl.load_topology, "", "topology", None),
        (load_software, "vlmm", "software", "vllm"),
    ],
)
def test_a_wrong_name_gets_the_three_nearest(load, wrong, kind, nearest):
    error = refusal(load, wrong)
    assert isinstance(error, pl.UnknownNameError)
    assert error.kind == kind
    assert len(error.nearest) == 3
    assert nearest is None or error.nearest[0] == nearest
    assert all(name in str(error) for name in error.nearest)


def test_an_endless_wrong_name_gets_a_short_sentence():
    assert len(str(refusal(pl.load_model, "x" * 100_000))) < 200


def test_the_three_nearest_names_can_all_be_loaded():
    assert [
        pl.load_topology(name).name for name in refusal(pl.load_topology, "hgx").nearest
    ] == list(refusal(pl.load_topology, "hgx").nearest)


def test_software_names_are_sorted():
    assert list(pl.software_names()) == sorted(pl.software_names())


@pytest.mark.parametrize("name", EXPECTED)
def test_a_machine_that_people_speak_of_loads_with_its_memory_and_links(name):
    machine = pl.load_topology(name)
    assert machine.name == name
    assert machine.title
    assert machine.fabrics
    assert machine.chip.memory[0].bandwidth_bytes_per_s > 0


def test_topology_names_are_sorted():
    assert list(pl.topology_names()) == sorted(pl.topology_names())


def test_the_catalogue_is_found_from_any_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    topology_table.cache_clear()
    assert "hgx-h100" in pl.topology_names()


# ── Models ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("name", "dtype"), [("deepseek-v3", "fp8"), ("gpt-oss-120b", "mxfp4"), ("llama-3.1-8b", "bf16")]
)
def test_weights_come_as_published_unless_somebody_says_otherwise(name, dtype):
    assert pl.load_model(name).weight_dtype == dtype
    assert pl.load_model(name, weight_dtype="int8").weight_dtype == "int8"


def test_an_encoder_has_no_cache_and_no_head():
    graph = pl.load_model("bert-base")
    assert graph.kv_bytes_per_token == 0
    assert [layer.kind for layer in graph.layers] == ["embedding", *12 * ["encoder"], "pooler"]


def test_a_request_to_an_encoder_is_its_prefill():
    graph, topology = pl.load_model("bert-large"), pl.load_topology("hgx-h100", chips=1)
    work = pl.Workload(batch_size=8, prompt_tokens=384, output_tokens=1, arrivals="together")
    score = pl.score_plan(pl.uniform_plan(graph, topology), graph, topology, work)
    assert score.request_s == score.ttft_s > 0
    assert score.stages[0].kv_bytes == 0


def test_a_pruned_model_is_smaller_and_says_so():
    dense, pruned = pl.load_model("bert-base"), pl.load_model("bert-base", sparsity="90%")
    assert pruned.parameters == dense.parameters
    assert pruned.weight_bytes < 0.4 * dense.weight_bytes
    assert "pruned 90%" in str(pruned)
    assert "pruned" not in str(dense)


@pytest.mark.parametrize("sparsity", ["3:4", "0%", "100%", "90", "", "x" * 1000])
def test_an_unknown_sparsity_is_refused_with_what_would_be_right(sparsity):
    sentence = str(refusal(pl.load_model, "bert-base", sparsity=sparsity))
    assert '"2:4"' in sentence
    assert '"90%"' in sentence
    assert len(sentence) < 200


@pytest.mark.parametrize(
    ("name", "skips"),
    [("hgx-a100", {"2:4"}), ("hgx-h100", {"2:4"}), ("hgx-h200", {"2:4"}), ("hgx-b200", {"2:4"}),
     ("gb200-nvl72", {"2:4"}), ("cerebras-cs3", {"2:4", "unstructured"}), ("tpu-v5p", set()), ("article-h100", set())],
)  # fmt: skip
def test_chips_skip_the_zeros_that_their_makers_say(name, skips):
    assert set(pl.load_topology(name).chip.skips) == skips


@pytest.mark.parametrize("field", ["weight_dtype", "kv_dtype", "activation_dtype"])
def test_an_unknown_format_is_refused_with_those_that_are_known(field):
    sentence = str(refusal(pl.load_model, "llama-3.1-8b", **{field: "fp9"}))
    assert field in sentence
    assert "'bf16'" in sentence
    assert "'fp9'" in sentence


@pytest.mark.parametrize("name", ["model.gguf", "model.onnx", "model.safetensors"])
def test_a_file_that_is_not_there_is_named(name):
    assert name in str(refusal(pl.load_model, name))


@pytest.mark.parametrize("name", ["a\0b/config.json", "x/" * 5000])
def test_a_path_that_cannot_be_is_refused_in_one_sentence(name):
    with pytest.raises(pl.PlannerError):
        pl.load_model(name)


# ── Machines of other sizes ──────────────────────────────────────────────────────────────────────────────────────────


def wired(name, chips=None):
    """Shape, units and chips in each unit, level by level."""
    machine = pl.load_topology(name, chips=chips)
    return [(level.fabric.shape, level.units, level.unit_chips) for level in machine.levels]


@pytest.mark.parametrize(
    ("name", "chips", "levels"),
    [
        ("hgx-h100", None, [("switch", 8, 1)]),
        ("hgx-h100", 1, []),
        ("hgx-h100", 3, [("switch", 3, 1)]),
        ("hgx-h100", 16, [("switch", 8, 1), ("switch", 2, 8)]),
        ("hgx-h100", 17, [("switch", 8, 1), ("switch", 3, 8)]),
        ("superpod-h100", None, [("switch", 8, 1), ("switch", 32, 8)]),
        ("gb200-nvl72", 144, [("switch", 72, 1), ("switch", 2, 72)]),
        ("groq-lpu-chain", 576, [("full-mesh", 8, 1), ("chain", 72, 8)]),
        (
            "groq-lpu-dragonfly",
            576,
            [("full-mesh", 8, 1), ("dragonfly", 33, 8), ("dragonfly", 3, 264)],
        ),
        ("cerebras-cs3", 1, []),
        ("cerebras-cs3", 4, [("chain", 4, 1)]),
        ("cerebras-cs3", 64, [("chain", 64, 1)]),
        ("tpu-v4", 64, [("torus", 64, 1)]),
    ],
)
def test_chips_shrink_and_extend_a_machine(name, chips, levels):
    assert wired(name, chips) == levels


def test_two_nodes_talk_over_infiniband():
    levels = pl.load_topology("hgx-h100", chips=16).levels
    assert [level.fabric.name for level in levels] == ["NVLink 4", "InfiniBand NDR"]


@pytest.mark.parametrize("name", pl.topology_names())
def test_as_many_chips_as_are_allowed_can_be_had_and_not_one_more(name):
    most = pl.load_topology(name).limit_chips
    assert pl.load_topology(name, chips=most).chips == most
    sentence = str(refusal(pl.load_topology, name, chips=most + 1))
    assert f"at most {most} chips" in sentence
    assert f"not {most + 1}" in sentence


@pytest.mark.parametrize("chips", [0, -3])
def test_fewer_chips_than_one_are_refused(chips):
    assert re.search(
        rf"Topology\.chips .* 1, not {chips}$",
        str(refusal(pl.load_topology, "hgx-h100", chips=chips)),
    )


@pytest.mark.parametrize("chips", [2.5, "four"])
def test_chips_that_are_no_whole_number_are_refused(chips):
    assert "load_topology: chips must be a whole number or None" in str(
        refusal(pl.load_topology, "hgx-h100", chips=chips)
    )


def test_another_software_stack_replaces_the_machines_own():
    assert pl.load_topology("hgx-h100", software="vllm").software == load_software("vllm")


# ── JSON ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_machine_comes_back_from_json(tmp_path):
    path = tmp_path / "mine.json"
    path.write_text(pl.load_topology("gb200-nvl72").to_json(), encoding="utf-8")
    assert pl.load_topology(path, chips=8) == pl.load_topology("gb200-nvl72", chips=8)


def test_another_software_stack_replaces_that_of_a_machine_in_json(tmp_path):
    path = tmp_path / "mine.json"
    path.write_text(tiny_topology().to_json(), encoding="utf-8")
    assert pl.load_topology(path, software="vllm").software.name == "vllm"


@pytest.mark.parametrize(
    ("entry", "chips", "held"),
    [
        ("hgx-h100:16", None, 16),
        ("hgx-h100:16", 16, 16),
        ("H100:4", None, 4),
        ("cerebras-cs3: 2", None, 2),
        ("hgx-h100", None, 8),
    ],
)
def test_a_count_stands_behind_the_name_of_a_machine(entry, chips, held):
    assert pl.load_topology(entry, chips=chips).chips == held


def test_a_count_stands_behind_a_file_and_a_pool_of_a_cluster(tmp_path):
    path = tmp_path / "mine.json"
    path.write_text(pl.load_topology("hgx-h100").to_json(), encoding="utf-8")
    assert pl.load_topology(f"{path}:4").chips == 4
    text = (
        'name = "mine"\n[[pool]]\nname = "a"\ntopology = "hgx-h100:4"\n'
        '[[pool]]\nname = "b"\ntopology = "l4"\n'
        '[[link]]\nbetween = ["a", "b"]\nbandwidth = "50 GB/s"\nlatency = "2 us"\n'
    )
    cluster = tmp_path / "cluster.toml"
    cluster.write_text(text, encoding="utf-8")
    assert [pool.topology.chips for pool in pl.load_cluster(cluster).pools] == [4, 1]


@pytest.mark.parametrize(
    ("entry", "chips", "said"),
    [
        ("hgx-h100:16", 8, "chips 8 and hgx-h100:16 name different numbers of chips"),
        ("hgx-h100:0", None, "names no chips; give one or more, as in hgx-h100:8"),
        ("hgx-h100:", None, "must be a whole number"),
        ("hgx-h100:all", None, "the chips of 'hgx-h100:all' must be a whole number"),
        ("hgx-h10:8", None, "nearest names are hgx-h100"),
    ],
)
def test_a_count_that_is_none_is_refused(entry, chips, said):
    assert said in str(refusal(pl.load_topology, entry, chips=chips))


def test_an_unknown_software_stack_is_refused_for_a_machine_in_json(tmp_path):
    path = tmp_path / "mine.json"
    path.write_text(tiny_topology().to_json(), encoding="utf-8")
    refusal(pl.load_topology, path, software="no-such-stack")


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"name": "mine", "colour": "red"}'])
def test_json_that_is_no_machine_is_refused_in_one_sentence(tmp_path, text):
    path = tmp_path / "mine.json"
    path.write_text(text, encoding="utf-8")
    sentence = str(refusal(pl.load_topology, path))
    assert sentence.startswith(f"{path}: ")
    assert sentence.count("\n") == 0


# ── Software stacks ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_stack_takes_the_collectives_of_those_that_it_names(tmp_path):
    text = (Path(__file__).parent.parent / "topologies" / "software" / "oneccl.toml").read_text(
        encoding="utf-8"
    )
    path = tmp_path / "mine.toml"
    path.write_text(text.replace('["nccl-pytorch"]', '["custom", "nccl"]'), encoding="utf-8")
    custom, nccl, mine = (
        pl.load_topology("hgx-h100", software=name).software
        for name in ("custom", "nccl", str(path))
    )
    assert mine.collectives == custom.collectives + nccl.collectives


@pytest.mark.parametrize(
    ("named", "words"),
    [('["nckl"]', "no software called 'nckl'"), ('"nccl"', "must be a list of names")],
)
def test_collectives_of_nobody_are_refused(tmp_path, named, words):
    text = (Path(__file__).parent.parent / "topologies" / "software" / "oneccl.toml").read_text(
        encoding="utf-8"
    )
    path = tmp_path / "mine.toml"
    path.write_text(text.replace('["nccl-pytorch"]', named), encoding="utf-8")
    assert words in str(refusal(pl.load_topology, "hgx-h100", software=str(path)))


def test_a_stack_takes_each_figure_that_it_does_not_state_from_the_one_whose_kernels_it_runs():
    kernels, engine = (
        pl.load_topology("hgx-h100", software=name).software for name in ("cuda-kernels", "vllm")
    )
    assert engine.matmul_overhead_s == kernels.matmul_overhead_s
    assert engine.memory_efficiency != kernels.memory_efficiency
    assert engine.collectives != kernels.collectives


def test_kernels_of_nobody_are_refused(tmp_path):
    text = (Path(__file__).parent.parent / "topologies" / "software" / "vllm.toml").read_text(
        encoding="utf-8"
    )
    path = tmp_path / "mine.toml"
    for named, words in (
        ('"cudakernels2"', "no software called"),
        ("3", "must be the name of a software stack"),
    ):
        path.write_text(text.replace('"cuda-kernels"', named), encoding="utf-8")
        assert words in str(refusal(pl.load_topology, "hgx-h100", software=str(path)))


def test_deepseeks_checkpoints_leave_at_16_bit_what_their_publishers_left():
    # NVIDIA's in NVFP4: attention, embedding and head; DeepSeek's own in FP8: the last two.
    kept = {
        "fp8": {"tokens", "logits"},
        "nvfp4": {"query", "latent", "attention", "tokens", "logits"},
    }
    for dtype, parts in kept.items():
        graph = pl.load_model("deepseek-v3", weight_dtype=dtype)
        for operator in graph.operators:
            stored = getattr(operator, "weight_dtype", "")
            if operator.kind in ("matmul", "experts", "embedding") and operator.name != "router":
                plain = operator.name.split()[0] in parts
                assert stored == ("bf16" if plain else dtype), operator.name
    # 61 layers of 187 million weights of attention in 16 bit; 0.93 billion each in embedding and
    # head; the rest at 4.5 bit: 2 · 13.3 + 0.5625 · 657.8 GB.
    graph = pl.load_model("deepseek-v3", weight_dtype="nvfp4")
    assert graph.weight_bytes == pytest.approx(2 * 13.3e9 + 0.5625 * 657.8e9, rel=0.005)


@pytest.mark.parametrize(
    ("name", "bytes_per_s"),
    [("dmatrix-corsair", 400e9), ("gh200", 450e9), ("gb200-nvl72", 256e9), ("rtx-4090", 25e9)],
)
def test_second_memories_are_read_at_what_their_data_sheets_say(name, bytes_per_s):
    """GH200: NVLink-C2C, slower than the memory; half a Grace for each GB200; PCIe 4 x16."""
    topology = pl.load_topology(name)
    engine = topology.software.engine.replace(offload="streams")
    topology = topology.replace(software=topology.software.replace(engine=engine))
    assert second_tier(topology).bandwidth_bytes_per_s == bytes_per_s


def test_a_model_that_a_card_cannot_hold_runs_at_the_speed_of_the_processors_memory():
    """Llama-3.1-70B in four bits on an RTX 4090 in a desktop: measured 0.323 s a token."""
    graph = pl.load_model("llama-3.1-70b", weight_dtype="q4_k_m")
    card = pl.load_topology("rtx-4090")
    work = pl.Workload(batch_size=1, prompt_tokens=128, output_tokens=128, arrivals="together")
    found = pl.partition(graph, card, work)
    away = len(found.plan.stages[0].offloaded)
    layer = (graph.weight_bytes - 2 * 128256 * 8192 * 0.6) / 80
    host = card.host.processor.memory[0].bandwidth_bytes_per_s * card.software.memory_efficiency
    assert found.score.tpot_s > (away - 1) * layer / host * 0.9
    assert 0.25 < found.score.tpot_s < 0.40


@pytest.mark.slow
def test_corsair_runs_from_lpddr_what_its_sram_cannot_hold():
    cards = pl.load_topology("dmatrix-corsair", chips=8)
    graph = pl.load_model("llama-3.1-70b", weight_dtype="int8")
    found = pl.partition(graph, cards, pl.Workload(batch_size=1, arrivals="together"))
    (stage,) = found.score.stages
    assert stage.needed_bytes <= 2.048e9
    assert found.score.tpot_s > stage.offloaded_bytes / 400e9
    with pytest.raises(pl.InfeasibleError, match="does not fit"):
        pl.partition(graph, cards, pl.Workload(batch_size=1), offload=False)


SPARSE_TENSOR_CORES = {
    "ampere",
    "ampere-workstation",
    "geforce-30",
    "geforce-40",
    "geforce-50",
    "ada",
    "hopper",
    "blackwell",
    "blackwell-workstation",
    "gb10",
    "rubin",
    "cdna",
}
"""Generations whose matrix units skip two zeros in four: NVIDIA's since Ampere, AMD's since
MI300."""


@pytest.mark.parametrize("name", pl.topology_names())
def test_chips_of_one_generation_skip_the_same_zeros(name):
    chip = pl.load_topology(name).chip
    if chip.architecture:
        skips_two_of_four = "2:4" in chip.skips
        assert skips_two_of_four == (chip.architecture in SPARSE_TENSOR_CORES)


@pytest.mark.parametrize(
    ("name", "most_tflops"),
    [
        ("hgx-h100", 794.5),
        ("hgx-h200", 794.5),
        ("gh200", 829.0),
        ("hgx-a100", 271.2),
        ("hgx-b200", 1745.0),
        ("mi300x-8", 668.0),
        ("gaudi3", 1243.0),
    ],
)
def test_no_chip_multiplies_faster_than_was_ever_measured(name, most_tflops):
    """Maxima over shapes of bf16 matmuls, as STAS measured them; of the GH200 0.838 of 989, of
    Gaudi 3 0.741 of 1,677."""
    machine = pl.load_topology(name)
    graph = pl.load_model("llama-3.1-8b", weight_dtype="bf16")
    facts = operator_facts(graph, machine)
    assert 1e12 * most_tflops > facts.achieved_flop_per_s.max() > 0.7e12 * most_tflops


def test_a_prompt_on_one_mi300x_stays_below_what_its_matmuls_reach():
    """2 · 6.98e9 weights a token without embedding and head: 668 TFLOP/s take 85 ms for 4,096."""
    machine = pl.load_topology("mi300x-8", chips=1)
    graph = pl.load_model("llama-3.1-8b", weight_dtype="bf16")
    work = pl.Workload(batch_size=1, prompt_tokens=4096, output_tokens=1, arrivals="together")
    score = pl.score_plan(pl.uniform_plan(graph, machine), graph, machine, work)
    assert 2 * 6.98e9 * 4096 / score.ttft_s < 668e12


@pytest.mark.parametrize("name", ["h100-pcie", "h100-nvl"])
def test_cards_that_draw_half_do_not_hold_the_clock_of_those_that_draw_all(name):
    card, module = pl.load_topology(name), pl.load_topology("hgx-h100")
    assert card.power.chip_w <= 400 < module.power.chip_w == 700
    assert card.chip.compute_efficiency < module.chip.compute_efficiency == 1


@pytest.mark.slow
def test_hosts_are_a_guess_where_no_run_was_measured_at_the_wall():
    for name in pl.topology_names():
        stated = [
            one
            for one in pl.load_topology(name).figures
            if one.path == "power.host_share" and one.source == "FIT"
        ]
        for one in stated:
            assert one.confidence == ("fit" if name == "hgx-b200" else "guess"), name


def test_rubin_draws_as_blackwell_does_and_says_that_it_is_a_guess():
    rubin, blackwell = pl.load_topology("vera-rubin-nvl72"), pl.load_topology("hgx-b200")
    for name in ("idle_share", "compute_activity", "memory_activity"):
        assert getattr(rubin.power, name) == getattr(blackwell.power, name)
        (figure,) = [one for one in rubin.figures if one.path == f"power.{name}"]
        assert figure.confidence == "guess"


@pytest.mark.parametrize("name", pl.topology_names())
def test_graphics_cards_of_a_desk_are_not_joined_over_infiniband(name):
    machine = pl.load_topology(name)
    if machine.chip.architecture.startswith("geforce"):
        is_one_computer = machine.fabrics[0].shape == "links"
        outside = [] if is_one_computer else ["Ethernet 10 GbE"]
        assert [one.name for one in machine.fabrics[1:]] == outside


# ── Machines of which only claims are published ──────────────────────────────────────────────────


@pytest.mark.slow
def test_the_articles_machines_alone_have_no_software():
    bare = {
        name
        for name in pl.topology_names()
        if pl.load_topology(name).software.name.startswith("claims")
    }
    assert bare == {"article-h100", "article-lpu", "article-wse3"}


def decoding_s(machine, model, weight_dtype, users):
    """The fastest token of so many users with all of a machine's chips at hand. [s]"""
    work = pl.Workload(batch_size=users, prompt_tokens=1024, output_tokens=256, phase="decode")
    graph = pl.load_model(model, weight_dtype=weight_dtype)
    return pl.partition(graph, machine, work).score.tpot_s


@pytest.mark.slow
@pytest.mark.parametrize(
    ("chips", "model", "weight_dtype", "users", "claimed_s"),
    spread(
        [
            (8, "llama-3.1-8b", "int8", 1, 1e-3),
            (64, "llama-3.1-70b", "fp4", 60, 60 / 30_000),  # 2 ms a token, 30,000 tokens/s
        ],
        1,
    ),
)
def test_corsair_is_as_fast_as_its_maker_projects(chips, model, weight_dtype, users, claimed_s):
    cards = pl.load_topology("dmatrix-corsair", chips=chips)
    assert decoding_s(cards, model, weight_dtype, users) == pytest.approx(claimed_s, rel=0.03)


@pytest.mark.parametrize(
    ("model", "weight_dtype", "claimed"),
    [("llama-3.1-8b", "bf16", 1000), ("deepseek-v3", "fp8", 198)],
)
def test_sixteen_sn40l_are_as_fast_as_was_published(model, weight_dtype, claimed):
    sockets = pl.load_topology("sn40l")
    graph = pl.load_model(model, weight_dtype=weight_dtype)
    work = pl.Workload(batch_size=1, prompt_tokens=1000, output_tokens=300)
    plan = pl.uniform_plan(graph, sockets, tensor_parallel=16)
    score = pl.score_plan(plan, graph, sockets, work)
    assert 1 / score.tpot_s == pytest.approx(claimed, rel=0.02)
    # Its guessed fabric has a share of that, and does not rule it.
    assert sum(one.collective_s for one in score.breakdown) < 0.3 * score.tpot_s


@pytest.mark.slow
def test_an_8b_model_in_memory_is_bound_by_its_multipliers():
    """Its 7 billion weights take 14 billion operations a token, 115 GOPS do 8.1 tokens a second."""
    modules = pl.load_topology("upmem-pim")
    assert decoding_s(modules, "llama-3.1-8b", "int8", 1) > 14e9 / 115e9


def test_chips_and_files_of_machines_are_told_by_name():
    names = catalogue.chip_names()
    assert names == tuple(sorted(names))
    assert all(catalogue.find_chip(name)["name"] for name in names)
    fields = catalogue.topology_fields("HGX H100")
    assert fields["chip"] == "h100-sxm"
    assert catalogue.described_topology(fields) == catalogue.load_topology("hgx-h100")


def test_a_cluster_is_told_from_a_machine(tmp_path):
    path = tmp_path / "two.toml"
    path.write_text('name = "two"\n[[pool]]\ntopology = "l4"\n', encoding="utf-8")
    with pytest.raises(pl.InputError, match="planner cluster"):
        pl.load_topology(path)
    assert pl.load_cluster(path).pools[0].name == "l4"


def test_a_cluster_where_a_machine_is_named_is_told_as_one_and_the_other_way_round():
    with pytest.raises(
        pl.InputError, match=r"^A100 L4 T4 is a cluster of pools, not a machine; use"
    ):
        pl.load_topology("A100 L4 T4")
    with pytest.raises(
        pl.InputError, match=r"^hgx-h100 is a machine, not a cluster; use load_topol"
    ):
        pl.load_cluster("hgx-h100")
