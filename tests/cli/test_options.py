"""What is wrong on the command line gets one sentence that names it."""

import pytest

from tests import onnx_writer
from tests.terminal import SMALL, refused


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("plan", "lama-3.1-70b", "hgx-h100"), "there is no model called 'lama-3.1-70b'; the nearest names are llama-3.1-70b"),
        (("plan", "qwen3-0.6b", "hgx-h10"), "there is no topology called 'hgx-h10'; the nearest names are hgx-h100"),
        (("plan", "qwen3-0.6b"), "Missing argument 'topology'"),
        (("plan",), "Missing argument 'model'"),
        (("plan", "nowhere/config.json", "hgx-h100"), "nowhere/config.json cannot be read: No such file"),
        (("plan", "qwen3-0.6b", "nowhere.toml"), "nowhere.toml cannot be read: No such file"),
        (("plan", *SMALL, "--batch", "0"), "batch_size must be at least 1, not 0"),
        (("plan", *SMALL, "--batch", "many"), "--batch must be a whole number, not 'many'"),
        (("plan", *SMALL, "--prompt", "-5"), "prompt_tokens must be at least 1, not -5"),
        (("plan", *SMALL, "--prompt", "x"), "--prompt"),
        (("plan", *SMALL, "--output", "0"), "output_tokens must be at least 1, not 0"),
        (("plan", *SMALL, "--weights", "fp9"), "weight_dtype must be one of 30 words, such as 'fp32', 'bf16'"),
        (("plan", *SMALL, "--kv", "fp9"), "kv_dtype must be one of 30 words, such as 'fp32', 'bf16'"),
        (("plan", *SMALL, "--arrivals", "never"), "arrivals must be 'together', 'steady' or 'poisson', not 'never'"),
        (("plan", *SMALL, "--dimension", "batch=1"), "qwen3-0.6b is not an ONNX file; leave batch out"),
        (("plan", *SMALL, "--dimension", "batch"), "--dimension must look like batch=1, not 'batch'"),
        (("plan", *SMALL, "--dimension", "batch=one"), "--dimension batch must be a whole number, not 'one'"),
        (("plan", *SMALL, "--dimension", "a=1", "--dimension", "a=2"), "--dimension a is given twice"),
        (("plan", *SMALL, "--limit", "tpot_s"), "--limit must look like tpot_s=30ms, not 'tpot_s'"),
        (("plan", *SMALL, "--limit", "tpot=0.02"), "called 'tpot'; the nearest names are tpot_s"),
        (("plan", *SMALL, "--limit", "tpot_s=-1"), "limits['tpot_s'] is measured in seconds: give a positive number"),
        (("plan", *SMALL, "--limit", "tpot_s=nan"), "such as '30 ms', not 'nan'"),
        (("plan", *SMALL, "--limit", "tpot_s="), "such as '30 ms', not ''"),
        (("plan", *SMALL, "--limit", "tpot_s=30 kg"), "limits['tpot_s'] is measured in seconds"),
        (("compare", "qwen3-0.6b", "hgx-h100:1", "--limit", "tpot_s=30W"), "such as '30 ms', not '30W'"),
        (("plan", *SMALL, "--minimize", "tpot"), "called 'tpot'; the nearest names are tpot_s, tpot_p50_s"),
        (("plan", *SMALL, "--minimize", "tokens_per_s"), "tokens_per_s is better when it is higher; use maximize="),
        (("plan", *SMALL, "--minimize", "tpot_s", "--maximize", "tokens_per_s"), "not both"),
        (("plan", *SMALL, "--engine", "gurobi"), "--solver must be auto or cp-sat, not 'gurobi'"),
        (("plan", *SMALL, "--power-scope", "rack"), "--power-scope must be chip, system or facility, not 'rack'"),
        (("plan", *SMALL, "--software", "vlm"), "there is no software called 'vlm'; the nearest names are vllm"),
        (("plan", *SMALL, "--chips", "2000"), "at most 1024 chips, not 2000"),
        (("plan", *SMALL, "--frobnicate", "1"), "No such option: --frobnicate"),
        (("plan", *SMALL, "--format", "xml"), "--format must be table or json, not 'xml'"),
        (("plan", "qwen3-0.6b", "tpu-v4", "--minimize", "power_w"), "needs the power of tpu-v4, which is not published"),
        (("score", *SMALL, "--tensor", "2"), "need 2 chips; hgx-h100 has 1"),
        (("score", "qwen3-0.6b", "hgx-h100", "--tensor", "3"), "tensor_parallel = 3 does not divide the 16 heads"),
        (("score", "qwen3-0.6b", "hgx-h100", "--tensor", "0"), "tensor_parallel must be a whole number of at least 1, not 0"),
        (("score", "qwen3-0.6b", "hgx-h100", "--expert", "2"), "expert_parallel = 2"),
        (("score", *SMALL, "--plan", "nowhere.json"), "nowhere.json cannot be read: No such file"),
        (("compare", "qwen3-0.6b"), "Missing argument 'topologies'"),
        (("compare", "qwen3-0.6b", "hgx-h100:two"), "the chips of 'hgx-h100:two' must be a whole number"),
        (("compare", "qwen3-0.6b", "hgx-h10"), "there is no topology called 'hgx-h10'"),
        (("plann",), "No such command 'plann'"),
        (("plan", *SMALL, "--prompt", "1.5"), "--prompt must be a whole number, not '1.5'; give one such as 64 or 128k"),
        (("plan", *SMALL, "--prompt", "128 MB"), "--prompt must be a whole number, not '128 MB'"),
        (("plan", *SMALL, "--rate", "30 ms"), "--rate is measured in requests per second"),
        (("plan", *SMALL, "--sure", "80 kg", "--limit", "tpot_s=1"), "--sure is measured in shares"),
        (("plan", *SMALL, "--usd-per-kwh", "3 USD/h"), "--usd-per-kwh is measured in dollars per kilowatt-hour"),
        (("plan", *SMALL, "--time-limit", "2 W"), "--time-limit is measured in seconds"),
        (("plan", *SMALL, "--exclude", "x"), "--exclude names chips by number, such as '3' or '0,4-7', not 'x'"),
        (("plan", *SMALL, "--exclude", "4-2"), "--exclude names chips by number"),
        (("plan", *SMALL, "--steps", "4"), "steps is for diffusion models, and qwen3-0.6b is a language model"),
        (("plan", *SMALL, "--sparsity", "most"), "sparsity"),
    ],
    ids=lambda given: " ".join(given[-2:]) if isinstance(given, tuple) else "",
)  # fmt: skip
def test_what_is_wrong_is_said_in_one_sentence_with_status_2(run, arguments, said):
    assert said in refused(run(*arguments), 2)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "{}",
        "[]",
        b"\xff",
        '{"stages": [{"layers": ["x"], "groups": [{"first": 0, "count": 1}]}]}',
    ],
)
def test_a_broken_plan_is_refused_with_status_2(run, tmp_path, content):
    path = tmp_path / "plan.json"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    assert refused(run("score", *SMALL, "--plan", path), 2)


@pytest.mark.parametrize("seconds", ["-1", "nan"])
def test_a_time_limit_that_is_none_is_refused(run, seconds):
    assert "time" in refused(run("plan", *SMALL, "--time-limit", seconds), 2)


@pytest.mark.slow
def test_open_axes_of_an_onnx_file_are_sized(run, tmp_path):
    path = onnx_writer.written(
        tmp_path,
        [onnx_writer.node("MatMul", ["x", "w"], ["y"])],
        [onnx_writer.tensor("w", [64, 64])],
        [onnx_writer.value("x", ["batch", "batch + 1=2", 64])],
    )
    asked = ("plan", str(path), "hgx-h100", "--chips", "1", "--prompt", "1", "--output", "1")
    said = refused(run(*asked), 2)
    assert 'give their sizes as dimensions={"batch": 1' in said
    sizes = ("--dimension", "batch=3", "--dimension", "batch + 1=2=5")
    answer = run(*asked, *sizes, "--batch", "1")
    assert answer.status == 0
    assert "one token is one run of the program" in answer.out


@pytest.mark.slow
def test_excluded_chips_hold_nothing(run):
    asked = ("plan", "qwen3-0.6b", "hgx-h100", "--chips", "4", "--exclude", "0-1")
    plan = run(*asked, "--format", "json").fields["plan"]
    assert min(group["first"] for stage in plan["stages"] for group in stage["groups"]) >= 2
