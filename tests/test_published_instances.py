"""The door through which published instances are solved: one JSON line, evaluated anew; a bad
file in one sentence."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import published_instances

PROGRAM = Path(__file__).resolve().parent.parent / "benchmarks" / "published_instances.py"
NODES = [
    {
        "id": 10 * number,
        "supportedOnFpga": 1,
        "fpgaLatency": took,
        "cpuLatency": 9 * took,
        "isBackwardNode": 0,
        "size": 1,
    }
    for number, took in enumerate((4.0, 3.0, 2.0, 1.0))
]
GRAPH = {
    "maxSizePerFPGA": 9.0, "maxFPGAs": 2, "maxCPUs": 1, "nodes": NODES,
    "edges": [{"sourceId": 10 * tail, "destId": 10 * head, "cost": 0.5} for tail, head in ((0, 1), (1, 2), (2, 3))],
}  # fmt: skip
CLUSTER = {
    "layers": 2, "nodes": 2,
    "node_types": [{"nodes": [0, 1], "tokens_per_s_by_layers": {"1": 9.0, "2": 4.0}}],
    "links": {"every_ordered_pair_tokens_per_s": 50.0, "source_and_sink_tokens_per_s": 50.0},
}  # fmt: skip


def run(path, mode):
    command = (
        sys.executable,
        str(PROGRAM),
        str(path),
        "--mode",
        mode,
        "--time-limit",
        "3600",
        "--json",
    )
    return subprocess.run(command, capture_output=True, text=True, check=False)


def answer_of(folder, fields, mode):
    path = folder / "instance.json"
    path.write_text(json.dumps(fields))
    done = run(path, mode)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\n") == 1
    answer = json.loads(done.stdout)
    assert {
        "objective",
        "bound",
        "status",
        "cpu_s",
        "wall_s",
        "peak_mb",
        "assignment",
    } <= answer.keys()
    assert answer["status"] == "optimal"
    assert answer["bound"] == pytest.approx(answer["objective"], rel=1e-5)
    assert min(answer["cpu_s"], answer["wall_s"], answer["peak_mb"]) > 0
    return answer


@pytest.mark.slow
@pytest.mark.parametrize(("mode", "best"), [("contiguous", 6.5), ("free", 6.0), ("latency", 10.0)])
def test_an_operator_graph_is_solved_and_placed(tmp_path, mode, best):
    answer = answer_of(tmp_path, GRAPH, mode)
    place = answer["assignment"]
    assert place.keys() == {str(node["id"]) for node in NODES}
    assert set(place.values()) <= {"a0", "a1", "c0"}
    assert answer["objective"] == pytest.approx(best)


@pytest.mark.slow
def test_a_cluster_is_solved_and_every_node_holds_a_run(tmp_path):
    answer = answer_of(tmp_path, CLUSTER, "helix")
    assert answer["objective"] == pytest.approx(9.0)
    assert sorted(answer["assignment"].values()) == [[0, 1], [1, 1]]


@pytest.mark.parametrize("mode", ["free", "helix"])
@pytest.mark.parametrize("text", ["[]", "{", '{"nodes": 3, "layers": 0}'])
def test_a_bad_file_gets_one_sentence_and_status_2(tmp_path, monkeypatch, capsys, mode, text):
    path = tmp_path / "bad.json"
    path.write_text(text)
    monkeypatch.setattr(sys, "argv", [PROGRAM.name, str(path), "--mode", mode])
    assert published_instances.main() == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith("error: ")
    assert told.err.count("\n") == 1
