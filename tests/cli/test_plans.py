"""Plans from the command line: answers on standard output, and as the functions give them."""

import json
import re

import pytest

import planner as pl
from planner.answers.sizings import Sizing
from planner.cli import EXAMPLES
from planner.plan import Plan
from planner.report.plans import plan_line
from tests.terminal import SMALL, refused


@pytest.mark.slow
def test_a_plan_is_printed_with_its_proof_and_nothing_on_standard_error(run):
    answer = run("plan", *SMALL)
    assert (answer.status, answer.err) == (0, "")
    assert answer.out.startswith("qwen3-0.6b (0.596 B parameters")
    assert "optimal: tpot_s = " in answer.out
    assert "it is proved that no plan has a lower one" in answer.out


@pytest.mark.slow
def test_a_plan_that_needs_more_memory_than_is_allowed_is_refused_in_a_sentence(run, monkeypatch):
    asked = ("plan", *SMALL, "--space", "any", "--solver", "cp-sat", "--memory-limit")
    assert run(*asked, "1GB").status == 0
    assert "must be at least 100 MB, not 0.001 MB" in refused(run(*asked, "1kB"), 2)
    # So small a model would not do for more.
    monkeypatch.setattr("planner.allowance.LEAST_BYTES", 1.0)
    said = refused(run(*asked, "1kB"), 2)
    assert "of memory, and 1e-06 GB are allowed" in said
    assert said.endswith("--memory-limit)")
    assert "must be above 0" in refused(run(*asked, "0GB"), 2)


@pytest.mark.slow
def test_json_is_all_that_stands_on_standard_output(run):
    answer = run("plan", *SMALL, "--format", "json")
    assert (answer.status, answer.err) == (0, "")
    assert {
        "plan",
        "score",
        "status",
        "field",
        "objective",
        "bound",
        "gap",
        "model",
        "topology",
    } <= set(answer.fields)
    assert answer.fields["objective"] == answer.fields["score"]["tpot_s"]
    assert (answer.fields["model"], answer.fields["topology"]) == (
        "qwen3-0.6b",
        {"name": "hgx-h100", "chips": 1},
    )


@pytest.mark.slow
def test_the_command_answers_as_the_function_does(run):
    options = (
        "--batch",
        4,
        "--prompt",
        100,
        "--output",
        20,
        "--weights",
        "fp8",
        "--kv",
        "fp8",
        "--arrivals",
        "together",
    )
    answer = run(
        "plan", *SMALL, *options, "--software", "vllm", "--minimize", "ttft_s", "--format", "json"
    )
    expected = pl.partition(
        pl.load_model("qwen3-0.6b", weight_dtype="fp8", kv_dtype="fp8"),
        pl.load_topology("hgx-h100", chips=1, software="vllm"),
        pl.Workload(batch_size=4, prompt_tokens=100, output_tokens=20, arrivals="together"),
        minimize="ttft_s",
    )
    assert answer.fields["score"] == json.loads(expected.score.to_json())


@pytest.mark.slow
def test_why_follows_the_plan_in_text_and_in_json(run):
    text = run("plan", "qwen3-0.6b", "hgx-h100", "--chips", "2", "--why").out
    assert (
        text.index("optimal:")
        < text.index("what limits the plan")
        < text.index("what better hardware or software would bring")
        < text.index("worse")
    )
    fields = run("plan", *SMALL, "--why", "--format", "json").fields
    assert fields["why"]["objective"] == fields["objective"]


@pytest.mark.slow
def test_a_certificate_is_written_and_verified_and_a_changed_one_refused(run, tmp_path):
    path = tmp_path / "certificate.json"
    assert run("plan", *SMALL, "--certificate", path).status == 0
    answer = run("verify", path)
    assert (answer.status, answer.err) == (0, "")
    assert "proved again without the solver" in answer.out
    assert run("verify", path, "--format", "json").fields["confirmed"]
    fields = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(fields | {"bound": 0.9 * fields["bound"]}), encoding="utf-8")
    assert "Certificate.status" in refused(run("verify", path), 2)
    path.write_text("{}", encoding="utf-8")
    assert refused(run("verify", path), 2).startswith(f"{path}: graph is missing")
    missing = tmp_path / "missing.json"
    assert refused(run("verify", missing), 2).count(str(missing)) == 1
    path.write_text(json.dumps({"schema_version": 1, "stages": []}))
    assert "this is a plan, and verify needs a certificate" in refused(run("verify", path), 2)
    assert "--certificate" in refused(run("plan", *SMALL, "--certificate", tmp_path), 2)


def test_a_proof_says_what_it_proves_and_its_status_whether_that_is_the_catalogues(run, tmp_path):
    """A machine that was forbidden tensor parallelism has another optimum, whatever its name."""
    path = tmp_path / "certificate.json"
    machine = pl.load_topology("hgx-h100", chips=2)
    hobbled = machine.replace(software=machine.software.replace(most_tensor_parallel=1))
    result = pl.partition(pl.load_model("llama-3.2-1b"), hobbled, pl.Workload())
    path.write_text(result.certificate().to_json(), encoding="utf-8")
    answer = run("verify", path)
    assert answer.status == 5
    assert "proved again without the solver" in answer.out
    assert "NOT the catalogue's of that name: 1 difference" in answer.out
    assert "most_tensor_parallel: 1 in place of 1000000" in answer.out
    assert "minimize tpot_s of llama-3.2-1b; on 2 x hgx-h100 (tensorrt-llm)" in answer.out


def test_a_proof_that_found_no_time_has_a_status_of_its_own(run, tmp_path):
    path = tmp_path / "certificate.json"
    machine = pl.load_topology("hgx-h100", chips=2)
    result = pl.partition(pl.load_model("llama-3.2-1b"), machine, pl.Workload(), space="any")
    path.write_text(result.certificate().to_json(), encoding="utf-8")
    answer = run("verify", path, "--time-limit", "1e-9")
    assert answer.status == 4
    assert "allow more (--time-limit)" in answer.out


@pytest.mark.slow
def test_a_certificate_is_proved_twice(run, tmp_path):
    path = tmp_path / "certificate.json"
    assert run("plan", "qwen3-0.6b", "hgx-h100", "--chips", "2", "--certificate", path).status == 0
    answer = run("verify", path, "--again")
    assert (answer.status, answer.err) == (0, "")
    assert "proved twice" in answer.out
    assert run("verify", path, "--again", "--format", "json").fields["again_confirmed"]


@pytest.mark.slow
def test_the_batch_may_be_as_many_as_fit(run):
    answer = run("plan", *SMALL, "--batch", "max", "--maximize", "tokens_per_s", "--format", "json")
    assert answer.fields["workload"]["batch_size"] is None
    assert answer.fields["score"]["batch_size"] > 8


@pytest.mark.slow
def test_a_rate_takes_the_place_of_a_batch_and_shows_percentiles(run):
    answer = run("plan", *SMALL, "--rate", "3", "--prompt", "64", "--output", "64")
    assert answer.status == 0
    assert "for 3 requests a second, each 64 prompt + 64 output tokens" in answer.out
    assert re.search(r"time to first token, p50 and p99 +[\d.]+ ms and [\d.]+ ms", answer.out)


@pytest.mark.slow
def test_tokens_are_drafted_by_another_model_or_by_look_up(run):
    drafted = run(
        "plan",
        *SMALL,
        "--draft",
        "qwen3-0.6b",
        "--speculative-tokens",
        "2",
        "--acceptance",
        "0.5",
        "--format",
        "json",
    )
    assert drafted.fields["workload"]["speculation"] == {
        "tokens": 2,
        "acceptance_rate": 0.5,
        "draft": "qwen3-0.6b",
    }
    looked_up = run("score", *SMALL, "--draft", "lookup")
    assert (
        "4 tokens drafted by look-up for each pass, which keeps 2.77 at an acceptance rate of 0.7"
        in looked_up.out
    )
    best = run(
        "plan",
        *SMALL,
        "--draft",
        "qwen3-0.6b",
        "--speculative-tokens",
        "best",
        "--acceptance",
        "0.01",
    )
    assert "drafted" not in best.out


def test_what_is_said_of_drafts_without_one_is_refused(run):
    assert "give --draft NAME" in refused(run("plan", *SMALL, "--acceptance", "0.9"), 2)
    assert "--speculative-tokens must be" in refused(
        run("plan", *SMALL, "--draft", "lookup", "--speculative-tokens", "x"), 2
    )


def test_a_rate_and_a_batch_are_not_both_taken(run):
    assert "--batch and --rate" in refused(run("plan", *SMALL, "--rate", "3", "--batch", "4"), 2)


def test_a_number_of_micro_batches_is_asked_of_any_plan(run, tmp_path):
    path = tmp_path / "question.toml"
    cut = (*SMALL, "--batch", 8, "--micro-batches", 2)
    assert "(--space any)" in refused(run("plan", *cut), 2)
    asked = run("plan", *cut, "--space", "any", "--save", path, "--format", "json")
    plan = json.loads(asked.out)["plan"]
    assert plan["micro_batches"] == 2
    again = run("ask", path, "--format", "json")
    assert json.loads(again.out)["plan"] == plan


def test_a_cluster_and_a_machine_are_told_from_one_another(run):
    clustered = refused(run("plan", "qwen3-0.6b", "a100-l4-t4"), 2)
    assert "a100-l4-t4 is a cluster of pools, not a machine" in clustered
    assert "`planner cluster`" in clustered
    alone = refused(run("cluster", "qwen3-0.6b", "hgx-h100"), 2)
    assert "hgx-h100 is a machine, not a cluster" in alone


def test_a_rate_is_served_on_a_cluster(run):
    answer = run(
        "cluster", "llama-3.1-8b", "three-macs", "--rate", "0.1", "--prompt", 64, "--output", 64
    )
    assert "for 0.1 requests a second" in answer.out
    assert "time to first token, p50 and p99" in answer.out


@pytest.mark.slow
def test_a_rate_that_is_too_high_is_infeasible(run):
    assert "requests a second" in refused(run("plan", *SMALL, "--rate", "1e6"), 3)


@pytest.mark.slow
def test_a_limit_is_kept_and_shown(run):
    answer = run("plan", "qwen3-8b", "hgx-h100", "--minimize", "chips", "--limit", "tpot_s=0.005")
    assert answer.status == 0
    assert re.search(r"limit: tpot_s at most 5 ms; the plan has [\d.]+ ms", answer.out)


@pytest.mark.slow
def test_the_power_scope_is_the_one_asked_for(run):
    answer = run("plan", *SMALL, "--power-scope", "chip", "--format", "json")
    assert answer.fields["score"]["power_scope"] == "chip"
    assert 700 * 0.22 < answer.fields["score"]["power_w"] < 700  # an idle H100, and its limit


@pytest.mark.slow
def test_a_cluster_is_planned_as_the_function_does(run):
    answer = run("cluster", "llama-3.1-8b", "three-macs", "--batch", 1, "--format", "json")
    expected = pl.partition_cluster(
        pl.load_model("llama-3.1-8b"), pl.load_cluster("three-macs"), pl.Workload(batch_size=1)
    )
    assert answer.fields["objective"] == expected.objective
    assert [pool["name"] for pool in answer.fields["pools"]] == [
        pool.name for pool in expected.cluster.pools
    ]


@pytest.mark.slow
def test_a_plan_on_a_cluster_is_explained_and_proved_again_from_its_file(run, tmp_path):
    certificate = tmp_path / "certificate.json"
    asked = ("cluster", "qwen3-0.6b", "three-macs", "--batch", 1)
    fields = run(*asked, "--why", "--certificate", certificate, "--format", "json").fields
    assert fields["why"]["pools"] == ["m2-ultra"]
    verdict = run("verify", certificate)
    assert verdict.status == 0
    assert "cluster: three-macs, digest" in verdict.out
    assert "machine of pool m2-ultra: apple-m2-ultra" in verdict.out


@pytest.mark.slow
def test_a_cluster_may_be_asked_for_any_plan_and_says_from_which_it_chose(run):
    asked = ("cluster", "qwen3-0.6b", "three-macs", "--batch", 1)
    assert "\nchosen from: plans that llama.cpp " in run(*asked).out
    assert "\nchosen from: any plan\n" in run(*asked, "--space", "any").out


@pytest.mark.slow
def test_unlike_deployments_are_shown_with_their_pools_and_their_proof(run):
    arguments = ("cluster", "llama-3.2-1b", "three-macs", "--unlike", "--limit", "tpot_s=0.1")
    text, fields = run(*arguments).out, run(*arguments, "--format", "json").fields
    assert "no other use of the pools" in text
    assert fields["objective"] == pytest.approx(
        sum(one["score"]["tokens_per_s"] for one in fields["deployments"])
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("cluster", "llama-3.1-8b", "three-mac"), "three-macs"),
        (
            ("cluster", "llama-3.1-8b", "three-macs", "--unlike", "--minimize", "tpot_s"),
            "leave --minimize",
        ),
        (
            ("cluster", "llama-3.1-8b", "three-macs", "--unlike", "--batch", "8"),
            "must be None for a fleet",
        ),
        (("cluster", "llama-3.1-8b", "three-macs", "--unlike", "--why"), "--why is of one"),
        (("cluster", "llama-3.1-8b", "three-macs", "--sure", "0.8"), "--sure is asked of one"),
        (("cluster", "llama-3.1-8b", "three-macs", "--unlike", "--rate", 3), "leave --rate out"),
        (
            ("cluster", "llama-3.1-8b", "three-macs", "--rate", 3, "--batch", 2),
            "--batch and --rate",
        ),
    ],
)
def test_a_cluster_question_that_is_wrong_gets_a_sentence(run, arguments, said):
    assert said in refused(run(*arguments), 2)


@pytest.mark.slow
def test_a_written_plan_scores_as_it_was_planned(run, tmp_path):
    path = tmp_path / "plan.json"
    planned = run("plan", "qwen3-8b", "hgx-h100", "--chips", "4", "--out", path, "--format", "json")
    scored = run(
        "score", "qwen3-8b", "hgx-h100", "--chips", "4", "--plan", path, "--format", "json"
    )
    assert (planned.status, scored.status) == (0, 0)
    assert scored.fields["score"]["tpot_s"] == planned.fields["score"]["tpot_s"]
    assert scored.fields == {
        "score": planned.fields["score"],
        "plan": planned.fields["plan"],
        "engine_faults": [],
        "not_given": scored.fields["not_given"],
    }
    assert scored.fields["not_given"]["--batch"] == "8"
    assert list(tmp_path.iterdir()) == [path]


def test_degrees_make_a_uniform_plan(run):
    degrees = ("--tensor", 2, "--pipeline", 2, "--data", 2)
    answer = run("score", "qwen3-8b", "hgx-h100", *degrees, "--format", "json")
    graph, machine = pl.load_model("qwen3-8b"), pl.load_topology("hgx-h100")
    plan = pl.uniform_plan(graph, machine, tensor_parallel=2, pipeline_parallel=2, data_parallel=2)
    assert answer.fields["plan"] == json.loads(plan.to_json())
    score = pl.score_plan(plan, graph, machine, pl.Workload(batch_size=8))
    assert answer.fields["score"]["tpot_s"] == score.tpot_s


def test_a_score_is_printed_with_stages_and_assumptions(run):
    answer = run("score", "qwen3-8b", "hgx-h100", "--pipeline", 2)
    assert (answer.status, answer.err) == (0, "")
    assert "time per output token" in answer.out
    assert len(re.findall(r"^  [01] +\d+ \(.* [\d.]+ m?s$", answer.out, re.MULTILINE)) == 2
    assert "\nplan: PP2, 19+19\n" in answer.out
    assert "assumptions" in answer.out


def test_a_score_says_which_micro_batches_it_takes_and_lets_them_be_chosen(run):
    asked = ("score", "qwen3-8b", "hgx-h100", "--pipeline", 2)
    for more, row, said in (
        ((), "1 1 2 1 1 2", "tensorrt-llm 1.2 can run this plan"),
        (("--software", "vllm"), "1 1 2 1 1 3", "vllm 0.32 can run this plan"),
        (("--software", "vllm", "--batch", 2), "1 1 2 1 1 2", "vllm 0.32 can run this plan"),
        (
            ("--micro-batches", 4),
            "1 1 2 1 1 4",
            "tensorrt-llm 1.2 cannot run this plan: tensorrt-llm keeps 2 micro-batches of 8"
            " sequences in flight over 2 stages, not 4",
        ),
    ):
        lines = run(*asked, *more).out.splitlines()
        assert said in lines
        place = next(n for n, line in enumerate(lines) if line.startswith("  replicas  TP"))
        assert lines[place + 1].split()[:6] == row.split()


def test_each_sequence_is_a_micro_batch_where_the_engine_keeps_them_so(run):
    asked = ("score", "qwen3-0.6b", "hgx-h100", "--software", "llama.cpp", "--pipeline", 2)
    fields = run(*asked, "--batch", 6, "--format", "json").fields
    assert (fields["plan"]["micro_batches"], fields["engine_faults"]) == (6, [])


def test_a_plan_that_the_software_cannot_be_started_with_has_a_price_and_a_reason(run, tmp_path):
    path = tmp_path / "plan.json"
    graph, machine = pl.load_model("qwen3-8b"), pl.load_topology("hgx-h100")
    plan = pl.uniform_plan(graph, machine, pipeline_parallel=2)
    first, last = plan.stages
    bare = plan.replace(
        stages=(
            first.replace(layers=first.layers + last.layers[:-1]),
            last.replace(layers=last.layers[-1:]),
        )
    )
    path.write_text(bare.to_json(), encoding="utf-8")
    asked = ("score", "qwen3-8b", "hgx-h100", "--plan", path)
    answer = run(*asked)
    assert answer.status == 0
    assert (
        "tensorrt-llm 1.2 cannot run this plan: stage 1 has no decoder layer; tensorrt-llm"
        " puts the embedding with the first of them and the head with the last\n"
    ) in answer.out
    fields = run(*asked, "--format", "json").fields
    assert len(fields["engine_faults"]) == 1
    assert fields["score"]["tpot_s"] > 0
    free = run(*asked, "--space", "any")
    assert "started" not in free.out
    assert run(*asked, "--space", "any", "--format", "json").fields["engine_faults"] == []
    assert "give one or the other" in refused(run(*asked, "--micro-batches", 2), 2)


def test_where_no_rules_are_known_a_score_says_so(run):
    answer = run("score", "qwen3-0.6b", "article-h100")
    assert answer.status == 0
    assert "any plan, since the rules of claims' engine are not known" in answer.out


@pytest.mark.parametrize("command", ["plan", "compare", "score", "disaggregate", "cluster"])
def test_a_space_is_one_of_two(run, command):
    link = ("--link", "1 GB/s") if command == "disaggregate" else ()
    machine = "three-macs" if command == "cluster" else "hgx-h100"
    said = refused(run(command, "qwen3-0.6b", machine, *link, "--space", "free"), 2)
    assert said == "--space must be engine or any, not 'free'"


@pytest.mark.slow
def test_any_plan_may_be_asked_for_and_tells_what_the_engines_limits_cost(run):
    asked = ("plan", "qwen3-0.6b", "hgx-h100", "--chips", "2")
    engine = run(*asked, "--format", "json").fields
    free = run(*asked, "--space", "any", "--format", "json").fields
    assert (engine["space"], engine["engine_objective"]) == ("engine", None)
    assert free["space"] == "any"
    assert free["engine_objective"] == pytest.approx(engine["objective"])
    assert "chosen from: plans that tensorrt-llm 1.2 can run\n" in run(*asked).out
    told = run(*asked, "--space", "any").out
    assert "chosen from: any plan\nthe best plan that tensorrt-llm can run has" in told


POWER = "energy is not comparable: "


PRICES = "price is not comparable: "


def test_machines_stand_side_by_side(run):
    answer = run("compare", "qwen3-8b", "hgx-h100:2", "hgx-a100:4")
    assert (answer.status, answer.err) == (0, "")
    header = next(line for line in answer.out.splitlines() if "hgx-h100" in line)
    assert header.split() == ["hgx-h100:2", "hgx-a100:4"]
    assert re.search(r"^  chips +2 +4$", answer.out, re.MULTILINE)
    assert re.search(r"^  tpot_s +[\d.]+ ms +[\d.]+ ms$", answer.out, re.MULTILINE)


@pytest.mark.slow
def test_each_machine_is_compared_with_its_plan_and_what_is_proved_of_it(run):
    asked = ("compare", "qwen3-8b", "hgx-h100:2", "groq-lpu-chain:576")
    lines = run(*asked).out.splitlines()
    fields = run(*asked, "--format", "json").fields
    plans = [Plan.from_json(json.dumps(one["plan"])) for one in fields["results"]]
    shown = {line.split("  ")[1]: line for line in lines if line.startswith("  ")}
    assert shown["status"].split()[1:] == ["optimal", "optimal"]
    assert shown["gap"].split("  ")[-1].strip() == "none, proved"
    assert all(f"  {plan_line(plan)}" in shown["plan"] for plan in plans)
    assert shown["micro-batches"].split()[1:] == [str(plan.micro_batches) for plan in plans]
    assert "hgx-h100:2: chosen from: plans that tensorrt-llm 1.2 can run" in lines
    assert (
        "groq-lpu-chain:576: chosen from: any plan, since the rules of groq-compiler's engine are not known"
    ) in lines


def test_a_comparison_of_any_plans_says_so_of_each_machine(run):
    out = run("compare", "qwen3-0.6b", "hgx-h100:1", "hgx-a100:1", "--space", "any").out
    assert out.count("chosen from: any plan\n") == 2


def test_diffusion_models_are_compared_by_their_samples(run):
    answer = run("compare", "dit-xl-2", "hgx-h100:2", "hgx-a100:4")
    assert (answer.status, answer.err) == (0, "")
    assert re.search(r"^  image_s +[\d.]+ m?s +[\d.]+ m?s$", answer.out, re.MULTILINE)
    assert "tpot_s" not in answer.out


def test_like_machines_are_compared_without_a_warning(run):
    answer = run("compare", "qwen3-0.6b", "hgx-h100:1", "hgx-a100:1")
    assert POWER not in answer.out
    assert PRICES not in answer.out


def test_machines_are_compared_by_what_is_known_of_the_power_of_all(run):
    # The draw of one is not known, nor what it takes at the wall: chips alone, as provisioned.
    answer = run("compare", "qwen3-0.6b", "hgx-h100:1", "article-h100")
    alone = "chips alone, provisioned"
    assert re.search(rf"^  power counts +{alone} +{alone}$", answer.out, re.MULTILINE)
    assert POWER not in answer.out


def test_machines_whose_power_counts_different_things_are_compared_with_a_warning(run):
    answer = run("compare", "qwen3-0.6b", "cerebras-cs3:1", "l40s:1")
    assert re.search(
        r"^  power counts +at the wall, drawn +chips alone, drawn$", answer.out, re.MULTILINE
    )
    assert POWER in answer.out


def test_machines_without_a_power_in_common_are_not_ranked_by_it(run):
    asked = ("compare", "qwen3-0.6b", "cerebras-cs3:1", "l40s:1")
    sentence = refused(run(*asked, "--minimize", "energy_per_token_j"), 2)
    assert "no scope of power is known for all machines" in sentence


def test_machines_rented_and_bought_are_compared_by_their_rent(run):
    answer = run("compare", "qwen3-0.6b", "hgx-h100:1", "tpu-v4:1")
    assert re.search(r"^  price counts +rent +rent$", answer.out, re.MULTILINE)
    assert PRICES not in answer.out


@pytest.mark.slow
def test_machines_without_a_price_in_common_are_compared_with_a_warning(run):
    asked = ("compare", "qwen3-0.6b", "hgx-b200:1", "tpu-v4:1")
    assert PRICES not in run(*asked).out
    asked = ("compare", "qwen3-0.6b", "rtx-4090:1", "tpu-v4:1")
    assert PRICES in run(*asked).out
    sentence = refused(run(*asked, "--minimize", "usd_per_million_tokens"), 2)
    assert "rtx-4090 (node or chip), tpu-v4 (rental)" in sentence
    given = run(*asked, "--minimize", "usd_per_million_tokens", "--price", "2 USD/h").out
    assert re.search(r"^  price counts +as given +as given$", given, re.MULTILINE)


def test_a_machine_without_a_price_is_not_called_rented(run):
    assert PRICES not in run("compare", "qwen3-0.6b", "hgx-h100:1", "article-h100").out


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--price-basis", "rentel"), "lease, chip or token, not 'rentel'; did you mean rental"),
        (("--power-basis", "drawed"), "--power-basis must be drawn or provisioned, not 'drawed'"),
        (("--price", "2.10 EUR/h"), "--price needs a number and a unit of dollars per hour"),
        (("--price", "2 USD/h", "--price-basis", "node"), "--price and --price-basis are both given"),
        (("--pue", "0.5"), "Economics.pue must be at least 1"),
        (("--utilisation", "0"), "Economics.utilisation must be above 0"),
    ],
)  # fmt: skip
def test_costs_that_cannot_be_are_refused_in_one_sentence(run, options, said):
    assert said in refused(run("plan", "qwen3-0.6b", "hgx-h100", "--chips", "1", *options), 2)


@pytest.mark.slow
def test_costs_of_the_owner_move_the_price_alone(run):
    asked = ("plan", "qwen3-0.6b", "hgx-h100", "--chips", "1", "--minimize", "chips")

    def scored(*options):
        return run(*asked, *options, "--format", "json").fields["score"]

    plain, half = scored("--pue", "1"), scored("--pue", "1", "--utilisation", "0.5")
    assert half["usd_per_million_tokens"] == pytest.approx(2 * plain["usd_per_million_tokens"])
    assert half["energy_per_token_j"] == plain["energy_per_token_j"]
    site = scored("--pue", "1.3", "--power-scope", "facility")
    assert site["power_w"] == pytest.approx(1.3 * plain["power_w"])
    # 33,750 USD over 35,040 h and 1.275 kW at 0.10 USD/kWh.
    hourly = 33_750 / 35_040 + 0.1275
    assert plain["usd_per_million_tokens"] == pytest.approx(
        1e6 * hourly / 3600 / plain["tokens_per_s"]
    )


@pytest.mark.slow
def test_a_machine_that_is_too_small_is_told_beneath_the_others(run):
    answer = run("compare", "llama-3.1-70b", "hgx-h100", "hgx-h100:1", "--format", "json")
    assert answer.status == 0
    assert [result["topology"]["chips"] for result in answer.fields["results"]] == [8]
    assert "does not fit 1 × NVIDIA H100 SXM" in answer.fields["refused"]["hgx-h100:1"]


@pytest.mark.slow
def test_a_comparison_of_machines_that_are_all_too_small_is_infeasible(run):
    sentence = refused(run("compare", "llama-3.1-70b", "hgx-h100:1", "hgx-a100:1"), 3)
    assert "NVIDIA H100" in sentence
    assert "NVIDIA A100" in sentence


def test_a_comparison_without_a_plan_in_time_is_not_called_infeasible(run):
    assert "nothing is proved" in refused(
        run("compare", "llama-3.1-405b", "hgx-h100:64", "--time-limit", "0"), 4
    )


@pytest.mark.slow
def test_two_pools_are_planned_and_shown(run):
    asked = (
        "disaggregate",
        "qwen3-0.6b",
        "hgx-h100",
        "--chips",
        "2",
        "--link",
        "50 GB/s",
        "--link-latency",
        "10 us",
    )
    text = run(*asked)
    assert text.status == 0
    assert "it is proved that no pair of plans has a lower one" in text.out
    assert "over the link in" in text.out
    assert "\nchosen from: plans that tensorrt-llm 1.2 can run\n" in text.out
    assert "\nchosen from: any plan\n" in run(*asked, "--space", "any").out
    fields = run(*asked, "--format", "json").fields
    assert (fields["prefill_topology"]["chips"], fields["decode_topology"]["chips"]) == (1, 1)
    assert fields["score"]["chips"] == 2


def test_two_pools_need_a_link_and_chips_of_their_own(run):
    assert run("disaggregate", "qwen3-0.6b", "hgx-h100").err.startswith(
        "planner: --link needs a number and a unit"
    )
    lonely = run(
        "disaggregate", "qwen3-0.6b", "hgx-h100", "--link", "1 GB/s", "--decode-chips", "2"
    )
    assert (lonely.status, "--decode-chips needs a second machine" in lonely.err) == (2, True)


PAIRED = (
    "pair",
    "qwen3-30b-a3b",
    "hgx-h200",
    "hgx-h100",
    "--chips",
    "1",
    "--expert-chips",
    "2",
    "--batch",
    "8",
)


def test_pools_take_drafts_and_a_share_of_the_memory(run):
    asked = ("disaggregate", "llama-3.1-8b", "hgx-h100:2", "--link", "50 GB/s", "--format", "json")
    plain = run(*asked).fields
    drafted = run(*asked, "--draft", "llama-3.2-1b", "--usable-memory", "50 %").fields
    assert drafted["score"]["tpot_s"] < plain["score"]["tpot_s"]
    small, large = (one["score"]["memory_headroom_bytes"] for one in (drafted, plain))
    assert small < large - 30e9


def test_a_pair_of_machines_is_planned_and_shown(run):
    asked = (*PAIRED, "--link", "400 GB/s", "--link-latency", "5 us")
    text = run(*asked)
    assert (text.status, text.err) == (0, "")
    assert "it is proved that no pair of plans has a lower one" in text.out
    assert "joined by 400 GB/s each way, 5 µs from end to end" in text.out
    fields = run(*asked, "--format", "json").fields
    assert fields["attention_topology"] == {"name": "hgx-h200", "chips": 1}
    assert fields["experts_topology"] == {"name": "hgx-h100", "chips": 2}
    assert fields["workload"]["phase"] == "decode"
    assert fields["plan"]["batch_size"] == fields["score"]["batch_size"] == 8
    assert fields["objective"] == fields["score"]["tpot_s"]


def test_a_pair_of_machines_needs_a_link_and_asks_about_prices_alone(run):
    assert run(*PAIRED).err.startswith("planner: --link needs a number and a unit")
    sure = run(*PAIRED, "--link", "1 GB/s", "--limit", "tpot_s=1", "--sure", "0.8")
    assert (sure.status, "--sure is for one machine" in sure.err) == (2, True)
    rated = (*PAIRED[:-2], "--rate", "3", "--link", "1 GB/s")
    assert "a pair of machines needs a batch_size" in run(*rated).err


SIZED = ("size", "qwen3-8b", "hgx-h100", "hgx-a100:8", "--rate", "30", "--limit", "tpot_s=0.02")


@pytest.mark.slow
def test_the_fewest_chips_of_each_machine_stand_below_one_another(run):
    answer = run(*SIZED)
    assert (answer.status, answer.err) == (0, "")
    assert "limit: tpot_s at most 20 ms" in answer.out
    for machine in ("hgx-h100", "hgx-a100:8"):
        bought, served = re.findall(rf"^  {machine} +(.*)$", answer.out, re.MULTILINE)
        assert re.match(r"\d+ +fewest +\d+ × 8 +\S.* [\d.]+ +[\d.]+ +[\d,.]+ +\w+", bought)
        assert re.search(r"  \+\d+ %: [\d.]+/s$", served)


PROMISED = ("--rate", "30", "--limit", "tpot_p99_s=50ms", "--sure", "0.8")


@pytest.mark.slow
def test_percentiles_are_kept_as_surely_as_is_asked(run):
    answer = run("size", "qwen3-8b", "hgx-h100", *PROMISED)
    assert "limit: tpot_p99_s at most 50 ms\neach limit is kept with a probability of 0.8" in (
        answer.out
    )
    assert re.search(r"TPOT p99  80 % sure", answer.out)
    fields = run("size", "qwen3-8b", "hgx-h100", *PROMISED, "--format", "json").fields
    (row,) = fields["machines"]
    told = {one["field"]: one for one in row["times"]}["tpot_p99_s"]
    assert told["value_s"] < told["sure_s"] <= 0.05
    assert row["result"]["percentiles"] == {"tpot_p99_s": told["value_s"]}
    assert (fields["sure"], row["headroom"]["field"]) == (0.8, "requests_per_s")


@pytest.mark.slow
def test_the_help_of_size_ends_with_examples_that_work(run):
    for example in EXAMPLES["size"]:
        assert example.startswith("planner size ")
        assert example in " ".join(run("size", "--help").out.split())
    cheaper = EXAMPLES["size"][1].replace("qwen3-8b", "qwen3-0.6b")
    assert run(*cheaper.split()[1:]).status == 0


@pytest.mark.slow
def test_machines_are_compared_by_percentiles_that_are_surely_kept(run):
    asked = ("compare", "qwen3-8b", "hgx-h100:1", "hgx-h200:1", "--rate", "5")
    answer = run(*asked, "--limit", "tpot_p99_s=30ms", "--sure", "0.8")
    assert "limit of each: tpot_p99_s at most 30 ms" in answer.out
    assert re.search(r"^  tpot_p99_s +[\d.]+ ms +[\d.]+ ms$", answer.out, re.MULTILINE)
    assert re.search(r"^    80 % sure +≤ [\d.]+ ms +≤ [\d.]+ ms$", answer.out, re.MULTILINE)
    assert re.search(r"^  requests_per_s +5 requests/s +5 requests/s$", answer.out, re.MULTILINE)


@pytest.mark.slow
def test_a_sizing_is_written_as_it_is_answered(run, tmp_path):
    written = tmp_path / "sizing.json"
    fields = run(*SIZED, "--format", "json", "--out", written).fields
    found = Sizing.from_json(written.read_text())
    assert fields["model"] == found.graph.name == "qwen3-8b"
    assert fields["limits"] == [["tpot_s", 0.02]]
    assert fields["ranked"] is True
    for row, one in zip(fields["machines"], found.machines, strict=True):
        assert (row["machine"], row["chips"], row["status"]) == (one.machine, one.chips, "optimal")
        assert row["bill"]["usd_per_hour"] == one.usd_per_hour
        assert row["result"]["topology"]["chips"] == one.result.topology.chips
        assert row["headroom"]["demand"] == 30.0
        assert "graph" not in row["result"]
    usd = [row["bill"]["usd_per_hour"] for row in fields["machines"]]
    assert usd == sorted(usd)


@pytest.mark.slow
def test_a_price_that_is_given_ranks_machines_that_have_none(run):
    asked = ("size", "qwen3-0.6b", "hgx-h100:1", "hgx-h20:1", "--batch", "4")
    silent = run(*asked)
    assert (
        "no price is known for hgx-h20:1, which comes last; --price '2.10 USD/h' gives one"
        in silent.out
    )
    assert re.search(r"^  hgx-h20:1 .* unknown +unknown ", silent.out, re.MULTILINE)
    given = run(*asked, "--price", "2 USD/h").out
    assert len(re.findall(r"^  hgx-h.* one chip +2 ", given, re.MULTILINE)) == 2
    assert "\nthe price is the one that was given\n" in given


@pytest.mark.slow
def test_a_machine_that_cannot_do_it_is_told_below_and_none_is_refused(run):
    asked = ("size", "llama-3.1-70b", "rtx-4090:1", "hgx-h100:8")
    lines = run(*asked).out.splitlines()
    assert lines[-3].startswith("rtx-4090:1: llama-3.1-70b in bf16 does not fit 1 × ")
    assert re.search(r"^  hgx-h100:8 .* no demand$", "\n".join(lines), re.MULTILINE)
    sentence = refused(run("size", "llama-3.1-70b", "rtx-4090:1", "hgx-h100:1"), 3)
    assert sentence.count("does not fit") == 2


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("hgx-h100", "--rate", "0"), "Workload.requests_per_s must be above 0, not 0.0"),
        (("hgx-h10",), "there is no topology called 'hgx-h10'; the nearest names are"),
        (("hgx-h100", "hgx-h100"), "hgx-h100 is given twice; leave one out"),
        (("hgx-h100:0",), "'hgx-h100:0' names no chips; give one or more, as in hgx-h100:8"),
        (("hgx-h100", "--rate", "5", "--limit", "ttft_p98_s=1s"), "nearest names are ttft_p90_s"),
        (("hgx-h100", "--limit", "tpot_p99_s=50MB"), "limits['tpot_p99_s'] is measured in seconds"),
        (
            ("cerebras-cs3:1", "l40s:1", "--batch", "4", "--limit", "energy_per_token_j=1"),
            "energy_per_token_j is not comparable: no scope of power is known for all machines",
        ),
        (("hgx-h100", "h100"), "h100 is given twice, the first time as hgx-h100; leave one out"),
        (
            ("hgx-h100", "--arrivals", "poisson"),
            "the fewest chips depend on the rate of requests, which is open",
        ),
        (
            ("hgx-h100", "--rate", "5", "--sure", "0.8"),
            "sure=0.8 is a probability with which limits",
        ),
        (("hgx-h100:x",), "the chips of 'hgx-h100:x' must be a whole number, not 'x'"),
        ((), "Missing argument 'topologies'"),
        (("hgx-h100", "--minimize", "tpot_s"), "size asks for the fewest chips; leave --minimize"),
        (("hgx-h100", "--rate", "1", "--batch", "2"), "--batch and --rate are both given"),
        (("hgx-h100", "--space", "free"), "--space must be engine or any, not 'free'"),
        (("hgx-h100", "--out", "/nowhere/x"), "--out /nowhere/x cannot be written"),
    ],
)
def test_a_wrong_sizing_is_refused_in_a_sentence(run, words, sentence):
    assert sentence in refused(run("size", "qwen3-0.6b", *words), 2)


@pytest.mark.slow
def test_a_rate_beyond_any_machine_is_proved_to_be(run):
    asked = ("size", "qwen3-0.6b", "hgx-h100:2", "--rate", "30000", "--limit", "ttft_p99_s=1s")
    assert "is more than any plan on 2 × NVIDIA H100 SXM can serve" in refused(run(*asked), 3)
