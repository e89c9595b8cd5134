"""`planner calibrate` on results of tools: what ran, rows alone, a few rows, refusals."""

import json

import pytest

import planner as pl
from planner.calibration.measurements import read_measurements
from tests.readers.benchmarks.texts import nccl_tests, planner_run, vllm_serve
from tests.terminal import refused

ON = ("--machine", "hgx-h100")


@pytest.fixture
def result(tmp_path):
    """A run of vllm bench serve."""
    path = tmp_path / "run.json"
    path.write_text(json.dumps(vllm_serve()), encoding="utf-8")
    return path


@pytest.mark.slow
def test_a_few_rows_scale_a_stack_and_are_written_beside_it(run, result, tmp_path):
    table, out = tmp_path / "rows.csv", tmp_path / "mine.toml"
    answer = run("calibrate", result, *ON, "--to-csv", table, "--out", out, "--format", "json")
    assert answer.status == 0
    assert [one["part"] for one in answer.fields["factors"]] == ["launches", "chips", "waits"]
    assert answer.fields["rows"] == 2
    assert answer.fields["median_after"] < answer.fields["median_before"]
    assert [row.field for row in read_measurements(table)] == ["ttft_s", "tpot_s"]
    stack = pl.load_topology("hgx-h100", software=str(out)).software
    shipped = pl.load_topology("hgx-h100", software="vllm").software
    assert stack.name == "vllm"
    assert stack.memory_efficiency != shipped.memory_efficiency
    # The table says all that the result and the options did.
    again = run("calibrate", table, "--out", tmp_path / "again.toml")
    assert (tmp_path / "again.toml").read_text() == out.read_text()
    assert "the stack is scaled as a whole" in again.out


def test_rows_alone_are_written_with_the_lengths_that_they_have(run, result, tmp_path):
    table = tmp_path / "rows.csv"
    answer = run("calibrate", result, *ON, "--tensor", 2, "--to-csv", table, "--format", "json")
    assert [row["tensor_parallel"] for row in answer.fields] == [2, 2]
    header, first, *_ = table.read_text(encoding="utf-8").splitlines()
    assert "prompt_tokens,output_tokens" in header
    assert ",1024,128," in first


def test_a_command_is_an_option_or_lies_beside_the_result(run, result, tmp_path):
    table = tmp_path / "rows.csv"
    command = "vllm serve meta-llama/Llama-3.1-8B -tp 4"
    run("calibrate", result, *ON, "--command", command, "--to-csv", table)
    assert {row.tensor_parallel for row in read_measurements(table)} == {4}
    (tmp_path / "run.json.command").write_text(
        "python -m sglang.launch_server --model-path x --tp 2"
    )
    run("calibrate", result, *ON, "--model", "llama-3.1-8b", "--to-csv", table)
    rows = read_measurements(table)
    assert {(row.software, row.tensor_parallel) for row in rows} == {("sglang", 2)}


@pytest.mark.slow
def test_rows_of_other_software_are_left_out_and_told(run, result, tmp_path):
    nccl = tmp_path / "all_reduce.txt"
    nccl.write_text(nccl_tests(), encoding="utf-8")
    out = tmp_path / "mine.toml"
    answer = run("calibrate", result, nccl, *ON, "--software", "nccl", "--out", out)
    assert (answer.status, "other software than nccl: 2 rows" in answer.err) == (0, True)
    assert pl.load_topology("hgx-h100", chips=8, software=str(out)).software.name == "nccl"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("{result}", "--out", "{out}"), "does not say what it was measured on; say --machine"),
        (("{result}", *ON, "--out", "{out}", "--to-csv", "{out}"), "give each a file of its own"),
        (
            ("{result}", *ON, "--model", "lama", "--out", "{out}"),
            "lama is not in the catalogue",
        ),
        (("{result}", "--machine", "hgx-h", "--out", "{out}"), "no row that can be predicted: "),
        (("{csv}", *ON, "--out", "{out}"), "--machine is about results of tools"),
        (("{csv}", "--software", "sglang", "--out", "{out}"), "has no row of sglang"),
        (("{result}", *ON, "--shipped"), "or --shipped alone"),
    ],
)
def test_faults_are_one_sentence_and_nothing_is_written(run, result, tmp_path, arguments, words):
    table = tmp_path / "mine.csv"
    table.write_text("row_id,field,value,model,topology\n1,tpot_s,0.01,llama-3.1-8b,hgx-h100\n")
    places = {"result": result, "csv": table, "out": tmp_path / "out.toml"}
    given = [word.format(**places) for word in arguments]
    assert words in refused(run("calibrate", *given), 2)
    assert not (tmp_path / "out.toml").exists()


@pytest.mark.slow
def test_rows_that_cannot_be_predicted_are_told(run, tmp_path):
    table = tmp_path / "mine.csv"
    rows = ["row_id,field,value,model,topology,chips,batch_size,software"]
    rows += ["a,tpot_s,0.01,llama-3.1-8b,hgx-h100,1,8,vllm"]
    rows += ["b,tpot_s,0.01,llama-3.1-405b,hgx-h100,1,8,vllm"]
    table.write_text("\n".join(rows))
    answer = run("calibrate", table, "--out", tmp_path / "out.toml")
    assert answer.status == 0
    assert "not predicted: 1 of the rows, such as b: " in answer.err
    assert "median error of 1 row:" in answer.out


@pytest.fixture
def saved(tmp_path):
    """A run of `planner run`."""
    path = tmp_path / "kept.json"
    path.write_text(json.dumps(planner_run()), encoding="utf-8")
    return path


@pytest.mark.slow
def test_a_run_of_ours_needs_no_option(run, saved, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    answer = run(
        "calibrate", saved.name, "--out", "mine.toml", "--to-csv", "rows.csv", "--format", "json"
    )
    assert answer.status == 0, answer.err
    assert [one["part"] for one in answer.fields["factors"]] == ["launches", "chips"]
    assert answer.fields["median_after"] < answer.fields["median_before"]
    # The table points at the file, and is read as long as that lies beside it.
    again = run("calibrate", "rows.csv", "--out", "again.toml")
    assert again.status == 0, again.err
    assert (tmp_path / "again.toml").read_text() == (tmp_path / "mine.toml").read_text()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"planner_run": 9}, "was saved by `planner run --save` in version 9"),
        ({"clock": "sundial"}, "clock"),
        ({"config": {"model_type": "no such"}}, "it has no num_hidden_layers"),
        ({"machine": {"name": "here"}, "clock": "wall"}, "no row that can be predicted: "),
    ],
)
def test_a_run_that_cannot_be_read_leaves_no_file(run, saved, tmp_path, changes, words):
    saved.write_text(json.dumps(planner_run(**changes)))
    out = tmp_path / "mine.toml"
    assert words in refused(run("calibrate", saved, "--out", out), 2)
    assert not out.exists()


@pytest.mark.parametrize("text", ['{"tool": "a benchmark of tomorrow", "ttft": 1}', "hello"])
def test_a_file_of_an_unknown_tool_is_one_sentence(run, tmp_path, text):
    path, out = tmp_path / "strange.json", tmp_path / "mine.toml"
    path.write_text(text)
    told = refused(run("calibrate", path, *ON, "--out", out), 2)
    assert "is not a known result of a benchmark; give AIPerf JSON" in told
    assert not out.exists()
