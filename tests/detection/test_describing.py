"""From what was seen to what a plan is made on: whole machines, their figures, and a slow or broken
link that the best plan goes around."""

import json
import re
from pathlib import Path

import networkx as nx
import pytest

import planner as pl
from planner import catalogue
from planner.detection.describing import Asked, described
from planner.errors import InputError
from planner.readers.machines.recognition import seen_in
from planner.readers.machines.seen import SeenDevice, SeenMachine
from tests.readers.machines.test_kubernetes import node, nodes
from tests.readers.machines.texts import machine_texts
from tests.readers.machines.written import matrix_text, named, real_matrices, square_matrix

A100 = "NVIDIA A100-SXM4-80GB"


def made(text, **asked):
    return described(seen_in(text, Path("x")), Asked(**asked))


def matrix_of(entries, product=A100, **asked):
    names = named(*[product] * (len(entries) + 1))
    return made(names + matrix_text(square_matrix(entries)), **asked)


@pytest.mark.parametrize("form", machine_texts())
def test_every_description_becomes_a_file_that_is_read_back(form, tmp_path):
    if "yaml" in form:
        pytest.importorskip("yaml")
    found = made(machine_texts()[form], node="hgx-h100")
    path = tmp_path / "my.toml"
    path.write_text(found.text, encoding="utf-8")
    load = pl.load_cluster if found.kind == "cluster" else pl.load_topology
    assert load(path) == found.read()
    figures = found.read().figures
    assert all(figure.source and figure.confidence for figure in figures)


def test_short_names_in_a_file_are_explained_in_it():
    found = matrix_of(["NV4 SYS", "SYS"], "NVIDIA GeForce RTX 3090")
    comments = [line for line in found.text.splitlines() if line.startswith("#")]
    cited = set(re.findall(r'source = "(\w+)"', found.text))
    assert {"MEM", "NCCL", "OURS"} <= cited
    for name in cited & set(catalogue.sources()):
        assert any(line.startswith(f"# {name}: ") for line in comments)
    assert any("Seen by nvidia-smi topo -m" in line for line in comments)


def test_an_even_machine_is_the_catalogues():
    real = next(one for one in real_matrices() if "HGX H100" in one["what"])
    text = named(*["NVIDIA H100 80GB HBM3"] * 8) + matrix_text(real)
    topology, usual = made(text).read(), pl.load_topology("hgx-h100", chips=8)
    assert topology.chip == usual.chip
    assert topology.fabrics == usual.fabrics[:1]
    assert topology.power == usual.power
    assert topology.software == usual.software


def test_what_joins_gpus_is_taken_as_usual_where_nobody_saw_it():
    found = made(named(*["NVIDIA H100 80GB HBM3"] * 4))
    (fabric,) = found.read().fabrics
    assert (fabric.name, fabric.units) == ("NVLink 4", 4)
    assert "not seen" in found.remarks[-1]


def test_nodes_that_are_alike_make_one_machine():
    found = made(json.dumps(nodes(*[node(f"n{at}") for at in range(4)])))
    topology = found.read()
    assert topology.chips == 32
    assert [fabric.units for fabric in topology.fabrics] == [8, 4]
    assert topology.host.processor.memory[0].capacity_bytes > 100e9


def test_nodes_that_are_not_make_pools():
    some = [node("a"), node("b"), node("c", 4), node("d", 2, product="NVIDIA-L4", memory="23034")]
    cluster = made(json.dumps(nodes(*some))).read()
    pools = {pool.name: pool.topology.chips for pool in cluster.pools}
    assert pools == {"h100-sxm": 16, "h100-sxm-2": 4, "l4": 2}
    assert len(cluster.links) == 3
    assert {link.bandwidth_bytes_per_s for link in cluster.links} == {12.5e9}


def test_a_mixed_box_makes_pools_joined_by_pcie():
    cards = ["NVIDIA GeForce RTX 4090", "NVIDIA GeForce RTX 3090", "NVIDIA GeForce RTX 3090"]
    text = named(*cards) + matrix_text(square_matrix(["PHB PHB", "NV4"]))
    found = made(text)
    cluster = found.read()
    assert found.kind == "cluster"
    assert [(pool.name, pool.topology.chips) for pool in cluster.pools] == [
        ("rtx-4090", 1),
        ("rtx-3090", 2),
    ]
    assert cluster.pools[1].topology.fabrics[0].bandwidth_bytes_per_s == 56.25e9
    assert "rtx-3090: its chips, in order, are GPU1 and GPU2" in found.remarks
    assert cluster.links[0].bandwidth_bytes_per_s == pytest.approx(25.8e9, rel=1e-2)


def test_the_least_memory_of_like_cards_counts():
    csv = "index, name, memory.total [MiB]\n0, NVIDIA GeForce RTX 4090, 49140 MiB\n1, NVIDIA GeForce RTX 4090, 24564 MiB\n"
    chip = made(csv).read().chip
    assert chip.memory[0].capacity_bytes == pytest.approx(23.64 * 2**30)


def test_hosts_alone_must_be_named():
    text = machine_texts()["Slurm topology.conf"]
    with pytest.raises(InputError, match="name it with --node"):
        made(text)
    topology = made(text, node="hgx-h100", software="vllm").read()
    assert topology.chips == 9 * 8
    assert topology.software.name == "vllm"


def test_hosts_may_have_fewer_chips_than_the_machine_that_they_are_part_of():
    text = "BlockName=a Nodes=n[1-18]\nBlockName=b Nodes=n[19-36]\n"
    topology = made(text, node="gb200-nvl72:4").read()
    assert topology.chips == 144
    assert [fabric.units for fabric in topology.fabrics] == [72, 2]
    with pytest.raises(InputError, match=r"the chips of .gb200-nvl72:x. must be a whole number"):
        made(text, node="gb200-nvl72:x")


def test_nodes_of_one_rack_are_one_domain():
    some = [node(f"tray{at}", 4, product="NVIDIA-GB200", memory="189471") for at in range(18)]
    for one in some:
        one["metadata"]["labels"]["nvidia.com/gpu.clique"] = "7b968a6d.1"
    topology = made(json.dumps(nodes(*some))).read()
    assert topology.chips == 72
    assert [(fabric.name, fabric.units) for fabric in topology.fabrics] == [("NVLink 5", 72)]


def test_what_has_nothing_to_plan_on_is_refused():
    nic = SeenDevice(name="NIC0", kind="nic")
    with pytest.raises(InputError, match="nothing to plan on"):
        described(SeenMachine(format="by hand", devices=(nic,)))


def test_a_graph_that_was_drawn_is_the_machine_that_was_drawn():
    drawn = pl.load_topology("rtx-3090-nvlink-4")
    text = json.dumps(nx.node_link_data(drawn.to_networkx(), edges="edges"))
    found = made(text, software=drawn.software.name).read()
    assert found.chip.memory == drawn.chip.memory
    one, other = (topology.fabrics[0].wiring(4) for topology in (found, drawn))
    for pair in ((0, 1), (0, 2), (2, 3)):
        assert one.lanes(*pair) == other.lanes(*pair)


# ── Slow and broken links ────────────────────────────────────────────────────────────────────────

LLAMA = pl.load_model("llama-3.1-70b")
MANY = pl.Workload(batch_size=64, prompt_tokens=2048, output_tokens=64)


def best(found):
    """The best plan, proved, and proved again by another solver."""
    topology = found.read()
    result = pl.partition(LLAMA, topology, MANY, minimize="ttft_s")
    assert result.status == "optimal"
    again = pl.partition(LLAMA, topology, MANY, minimize="ttft_s", solver="cp-sat")
    assert again.objective == pytest.approx(result.objective, rel=1e-5)
    return result, topology


def price(topology, tensor, pipeline):
    plan = pl.uniform_plan(LLAMA, topology, tensor_parallel=tensor, pipeline_parallel=pipeline)
    return pl.score_plan(plan, LLAMA, topology, MANY).ttft_s


@pytest.mark.slow
def test_a_slow_link_is_planned_around_and_that_is_proved():
    whole, topology = best(matrix_of(["NV4 NV4 NV4", "NV4 NV4", "NV4"], software="vllm"))
    assert [stage.tensor_parallel for stage in whole.plan.stages] == [4]
    assert whole.objective == pytest.approx(price(topology, 4, 1))

    # GPU 3 has lost its NVLinks: what was best is now the worst, and no group spans it.
    slow, topology = best(matrix_of(["NV4 NV4 SYS", "NV4 SYS", "SYS"], software="vllm"))
    assert slow.objective < price(topology, 4, 1) / 1.5
    assert all(stage.tensor_parallel == 1 for stage in slow.plan.stages)
    assert slow.objective <= min(
        price(topology, 4, 1), price(topology, 2, 2), price(topology, 1, 4)
    )


def test_groups_keep_to_the_pairs_that_are_bridged():
    text = ["SYS NV4 SYS", "SYS NV4", "SYS"]
    bridged, topology = best(matrix_of(text, software="vllm"))
    assert [(stage.tensor_parallel, stage.groups[0].first) for stage in bridged.plan.stages] == [
        (2, 0),
        (2, 2),
    ]
    # Chips 0 and 1 are GPUs 0 and 2, which a bridge joins: no message of a layer takes PCIe.
    assert topology.fabrics[0].wiring(4).lanes(0, 1)[0].bandwidth_bytes_per_s == 100e9
    assert bridged.objective < price(topology, 4, 1) / 1.9


def test_one_broken_link_of_a_mesh_is_gone_around():
    broken, topology = best(matrix_of(["SYS NV4 NV4", "NV4 NV4", "NV4"], software="vllm"))
    assert [stage.tensor_parallel for stage in broken.plan.stages] == [4]
    # A ring of all four takes NVLink alone.
    ring = topology.fabrics[0].wiring(4).ring((0, 1, 2, 3))
    assert ring[0].bandwidth_bytes_per_s == 100e9
    assert broken.objective < price(topology, 2, 2)
