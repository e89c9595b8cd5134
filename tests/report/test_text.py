"""Reports: what was asked, what was proved and no more, every stage, every assumption."""

import re

import pytest

import planner as pl
from planner.report import text
from planner.report.words import FIELD_WORDS, field_text
from planner.scoring.score import StageTime
from tests.instances import ENGINES, tiny_graph, tiny_software, tiny_topology
from tests.report.conftest import WORKLOAD, score_of_pipeline

# ── Text ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_printed_result_says_what_was_asked(result):
    first, second, third = str(result).splitlines()[:3]
    assert first == "tiny (0.04824 B parameters: weights bf16, KV cache bf16, matmuls bf16)"
    assert second == "on 4 × tiny, 4 by switch (switch); software plain"
    assert third == (
        "for 4 sequences at once, each 64 prompt + 16 output tokens; a new one starts as soon as one"
        " ends"
    )


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"batch_size": None},
            "for the best number of sequences at once, each 64 prompt + 16 output tokens",
        ),
        (
            {"batch_size": None, "requests_per_s": 2.5},
            "for 2.5 requests a second, each 64 prompt + 16 output tokens; they arrive at random",
        ),
        (
            {"arrivals": "together"},
            "for 4 sequences at once, each 64 prompt + 16 output tokens; all start together",
        ),
    ],
)
def test_the_question_is_told_in_words(changes, said):
    assert text.question_lines(tiny_graph(), tiny_topology(), WORKLOAD.replace(**changes))[
        2
    ].startswith(said)


def test_an_optimum_is_said_to_be_proved(result):
    assert text.proof_line(result) == (
        f"optimal: tpot_s = {field_text('tpot_s', result.objective)}, and it is proved that no plan has a lower one"
    )
    assert text.proof_line(result) in str(result).splitlines()


def test_an_optimum_of_fewer_chips_says_what_more_would_give(result):
    found = result.replace(objective=0.02, bound=0.01999, gap=0.0005)
    assert text.proof_line(found) == (
        "optimal: tpot_s = 20 ms, with the fewest chips of the plans within 0.1 % of the best; it is"
        " proved that no plan is below 20 ms (a gap of 0.05 %)"
    )


def test_a_feasible_plan_says_how_far_it_may_be_and_never_that_it_is_the_best(result):
    found = result.replace(status="feasible", objective=0.02, bound=0.015, gap=0.25)
    said = (
        "feasible: tpot_s = 20 ms; a better plan may exist, but it is proved that no plan is below"
        " 15 ms (a gap of 25 %)"
    )
    assert text.proof_line(found.replace(stopped_by=None)) == said
    late = text.proof_line(found.replace(stopped_by="time"))
    assert late == f"{said}; the search ran out of time"
    assert "optimal" not in str(found)


def test_the_best_of_what_is_to_be_high_has_no_higher_one():
    best = pl.partition(tiny_graph(), tiny_topology(), WORKLOAD, maximize="tokens_per_s")
    assert text.proof_line(best).endswith("it is proved that no plan has a higher one")


def test_a_limit_is_shown_with_what_the_plan_reaches(result):
    assert f"limit: chips at most 4; the plan has {result.score.chips}" in str(result).splitlines()


STREAM = pl.Workload(arrivals="poisson", prompt_tokens=64, output_tokens=16)


def printed(workload: pl.Workload, **asked) -> str:
    machine = tiny_topology(4, software=tiny_software(engine=ENGINES["as many as stages"]))
    return str(pl.partition(tiny_graph(), machine, workload, **asked))


@pytest.mark.slow
def test_a_limit_says_what_it_is_kept_to_with_the_probability_that_was_asked_for():
    limits = {"tpot_p99_s": 1e-2, "tokens_per_s_per_user": 100, "chips": 4}
    printed_text = printed(STREAM.replace(requests_per_s=200.0), limits=limits, sure=0.8)
    kept = (
        r"limit: tpot_p99_s at most 10 ms; the plan has [\d.]+ .?s, with a probability of 0.8 at most"
        r" [\d.]+ .?s$"
    )
    assert re.search(kept, printed_text, re.MULTILINE)
    assert re.search(
        r"the plan has [\d,.]+ tokens/s, with a probability of 0.8 at least [\d,.]+ tokens/s\n",
        printed_text,
    )
    # What is counted is not predicted.
    assert re.search(r"limit: chips at most 4; the plan has \d\n", printed_text)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (
            {"limits": {"tpot_p99_s": 1e-3}},
            "the most at which the plan keeps the limits\n",
        ),
        (
            {"limits": {"tpot_p99_s": 1e-3}, "sure": 0.8},
            "the most at which the plan keeps the limits with a probability of 0.8\n",
        ),
        ({}, "the most that the plan can serve\n"),
    ],
)
def test_a_stream_of_open_rate_says_at_what_rate_it_is_served(asked, said):
    printed_text = printed(STREAM, maximize="requests_per_s", **asked)
    assert re.search(rf"^at [\d,.]+ requests a second: {said}", printed_text, re.MULTILINE)


@pytest.mark.slow
def test_a_percentile_that_is_asked_for_has_an_interval_which_may_have_no_end():
    few = printed(STREAM.replace(requests_per_s=20.0), minimize="tpot_p99_s")
    assert re.search(r"interval: 4 of 5 measurements of tpot_p99_s would lie in [\d.]+ ", few)
    most = pl.partition(
        tiny_graph(), tiny_topology(1, software=tiny_software()), STREAM, maximize="requests_per_s"
    )
    near = STREAM.replace(requests_per_s=0.98 * most.objective)
    one = pl.partition(tiny_graph(), most.topology, near, minimize="ttft_p99_s")
    assert re.search(r"9 of 10 measurements of ttft_p99_s would lie above [\d.]+", str(one))
    assert " inf" not in str(one)


def untold(result):
    """Fields that the text of a result has no line for."""
    text = str(result)
    return {
        name
        for name, word in FIELD_WORDS.items()
        for value in (re.escape(field_text(name, getattr(result.score, name))),)
        if not re.search(rf"^  {re.escape(word.title)} +{value}(  +.*)?$", text, re.MULTILINE)
    }


def test_every_figure_stands_in_the_text_with_its_unit(result):
    # The wait for a place is told where there is one.
    assert result.score.queued == 0
    assert untold(result) == {"queued", "queued_s"}
    assert "queue" not in str(result)

    machine = tiny_topology(1, software=tiny_software(most_sequences=3))
    crowded = pl.partition(tiny_graph(), machine, WORKLOAD)
    assert crowded.score.queued == 1  # of four, three are in flight
    assert untold(crowded) == set()


def test_assumptions_stand_at_the_end(result):
    lines = str(result).splitlines()
    after = lines[lines.index("assumptions") + 1 :]
    assert after == [
        "  the rules of plain's engine are not known: any plan counts as one that it can run",
        "  price: rent, 1 USD an hour for each chip",
    ]


@pytest.mark.slow
def test_the_inputs_that_nobody_is_sure_of_stand_among_the_assumptions():
    machine = pl.load_topology("hgx-h100", chips=1)
    text = str(pl.partition(pl.load_model("qwen3-8b"), machine, WORKLOAD))
    doubtful = sum(figure.confidence not in ("A", "B") for figure in machine.figures)
    assert f"  {doubtful} of the {len(machine.figures)} figures of hgx-h100 are fitted" in text
    moved = re.findall(
        r"^  (\S+) = \S+ \(.*\): a change of [-+]20 % changes tpot_s by ([-+][\d.]+) %$",
        text,
        re.MULTILINE,
    )
    assert moved[0][0] == "software.memory_efficiency"
    assert abs(float(moved[0][1])) > 10


@pytest.mark.slow
def test_doubts_count_the_power_that_the_question_counts():
    machine = pl.load_topology("hgx-h200", chips=1)
    asked = {"minimize": "energy_per_token_j", "power_scope": "chip"}
    assert "power.system_w" not in str(
        pl.partition(pl.load_model("qwen3-0.6b"), machine, WORKLOAD, **asked)
    )


@pytest.mark.parametrize(
    ("model", "machine", "workload", "said"),
    [
        ("gpt-4-rumour", "hgx-h100", {}, "the shape of gpt-4-rumour is a guess: a leak of 2023"),
        ("palm-540b", "hgx-h100", {}, "the shape of palm-540b is from memory"),
        ("llama-2-7b", "article-lpu", {}, "power and price are counted for the filled share of each chip's memory alone"),
        ("llama-2-7b", "tpu-v4", {}, "price: rent, 3.22 USD an hour for each chip"),
        ("llama-2-7b", "hgx-h100", {}, "price: the chip and its share of the node, 1.12 USD an hour for each chip (4 y"),
    ],
)  # fmt: skip
def test_what_the_figures_rest_on_is_said(model, machine, workload, said):
    lines = text.assumption_lines(
        pl.load_model(model), pl.load_topology(machine), pl.Workload(**workload)
    )
    assert sum(line.startswith(said) for line in lines) == 1


@pytest.mark.parametrize(
    ("lengths", "said"),
    [
        ({"prompt_tokens": 5000}, "the prompt of 5,000 tokens is"),
        ({"prompt_tokens": 4000, "output_tokens": 97}, "prompt and output together, 4,097 tokens, are"),
    ],
)  # fmt: skip
def test_a_request_that_is_longer_than_the_context_is_warned_of_with_the_question(lengths, said):
    graph = pl.load_model("llama-2-7b")
    lines = text.question_lines(graph, pl.load_topology("hgx-h100"), pl.Workload(**lengths))
    assert lines[3:] == [f"warning: {said} longer than the context of llama-2-7b (4,096 tokens)"]
    fits = pl.Workload(prompt_tokens=4000, output_tokens=96)
    assert text.warning_lines(graph, fits) == []


def test_what_is_cached_of_prompts_is_told_with_what_it_does_not_save():
    cached = WORKLOAD.replace(cached_prompt_share=0.25)
    question = text.question_lines(tiny_graph(), tiny_topology(), cached)[2]
    assert question.endswith("; 25 % of each prompt is in the cache already")
    lines = text.assumption_lines(tiny_graph(), tiny_topology(), cached)
    assert any("counted with memory for its whole prompt" in line for line in lines)


def test_a_machine_without_a_price_has_no_price_among_its_assumptions():
    lines = text.assumption_lines(tiny_graph(), pl.load_topology("article-h100"), WORKLOAD)
    assert not any(line.startswith("price") for line in lines)


# ── Tables ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_where_the_time_goes_sums_to_the_time(score):
    for breakdown, whole in (
        (score.breakdown, score.tpot_s),
        (score.prefill_breakdown, score.ttft_s),
    ):
        rows = text.time_rows(breakdown)
        assert sum(seconds for _, seconds, _ in rows) == pytest.approx(whole, rel=1e-3)
        assert sum(share for _, _, share in rows) == pytest.approx(1, rel=1e-3)
        assert [seconds for _, seconds, _ in rows] == sorted(
            (seconds for _, seconds, _ in rows), reverse=True
        )


def test_stages_that_differ_have_a_row_each(score):
    assert [row[:3] for row in text.stage_rows(score)] == [
        ("0", "3 (embedding…decoder.1)", "0"),
        ("1", "2 (decoder.2…decoder.3)", "1"),
        ("2", "3 (decoder.4…head)", "2"),
    ]


def test_equal_neighbours_share_a_row():
    assert [row[:3] for row in text.stage_rows(score_of_pipeline(stages=4, layers=6))] == [
        ("0", "2 (embedding…decoder.0)", "0"),
        ("1-2", "2 each of 2 (decoder.1…decoder.4)", "1-2"),
        ("3", "2 (decoder.5…head)", "3"),
    ]


def test_many_kinds_of_stages_are_shortened_in_the_middle(score):
    stages = tuple(score.stages[0].replace(layers=number + 1) for number in range(50))
    rows = text.stage_rows(score.replace(stages=stages))
    assert len(rows) == text.MOST_STAGES + 1
    assert [row[0] for row in (rows[0], rows[-1])] == ["0", "49"]
    assert [row[1] for row in rows if row[0] == "…"] == ["26 more rows"]


def test_a_row_says_layers_chips_degrees_memory_and_times():
    graph, topology = tiny_graph(layers=2), tiny_topology(4)
    plan = pl.uniform_plan(graph, topology, tensor_parallel=4)
    (row,) = text.stage_rows(pl.score_plan(plan, graph, topology, WORKLOAD))
    stage, layers, chips, tensor, expert, memory, decode, prefill = row
    assert (stage, layers, chips, tensor, expert) == ("0", "4 (embedding…head)", "0-3", "4", "1")
    assert re.fullmatch(r"[\d.]+ MB of 900 MB \(\d+ %\)", memory)
    assert re.fullmatch(r"[\d.]+ [mµ]s", decode)
    assert re.fullmatch(r"[\d.]+ [mµ]s", prefill)


def test_columns_are_aligned():
    assert text.aligned([("a", "bbb"), ("cc", "d")]) == ["  a   bbb", "  cc  d"]


def test_a_printed_score_has_a_row_for_each_stage(score):
    lines = str(score).splitlines()
    header = next(
        number for number, line in enumerate(lines) if line.split()[:2] == ["stage", "layers"]
    )
    assert len(lines[header + 1 :]) == len(text.stage_rows(score))


def test_prompts_of_others_are_told_apart_from_the_bubble():
    """By hand: a token takes its pass, 2 ms of others' prompts, and 1 ms for its turn."""
    score = score_of_pipeline(stages=2, layers=4).replace(
        tpot_s=0.01,
        others_prompts_s=0.002,
        breakdown=(StageTime(memory_s=0.009, bubble_s=0.001),),
        prefill_breakdown=(StageTime(compute_s=0.02, bubble_s=0.005),),
    )
    lines = str(score).splitlines()
    first = lines.index("where the time of the first token goes")
    later, earlier = lines[:first], lines[first:]
    assert any(line.startswith("  bubble (waiting for the slowest stage)") for line in later)
    assert "  of these 2 ms (20.0 %) are for the prompts of other requests" in later
    waits = [line for line in earlier if "waiting for the passes and prompts before it" in line]
    assert len(waits) == 1
    assert not any("bubble" in line for line in earlier)
    alone = str(score.replace(others_prompts_s=0.0))
    assert "prompts of other requests" not in alone


# ── HTML ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


# ── Pictures ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_two_pools_are_told_with_what_sets_their_rate_and_where_the_time_goes():
    link, graph = pl.Link(bandwidth_bytes_per_s=1e9, latency_s=1e-3), tiny_graph(2)
    result = pl.disaggregate(
        graph, pl.Workload(batch_size=4), prefill=tiny_topology(2), link=link, minimize="tpot_s"
    )
    text = str(result)
    assert f"limited by the {result.score.slowest}" in text
    assert "\n  links (KV cache, hops between stages) " in text  # the cache's way
    assert text.index("plan of the prefill pool: ") < text.index("plan of the decode pool: ")
    assert text.index("\nprefill pool") < text.index("\ndecode pool")
    assert re.search("^chosen from: any plan", text, re.MULTILINE)
    assert str(result.score) in text


def test_a_pair_of_machines_is_told_with_what_sets_its_pace_and_what_each_holds():
    result = pl.disaggregate_attention(
        tiny_graph(2),
        pl.Workload(phase="decode", batch_size=4),
        attention=tiny_topology(2),
        experts=tiny_topology(2),
        link=pl.Link(bandwidth_bytes_per_s=1e9, latency_s=1e-3),
    )
    text = str(result)
    assert "optimal: tpot_s =" in text
    assert "\nattention on 2 × tiny" in text
    assert "\nfeed-forward parts on 2 × tiny" in text
    assert "\njoined by 1 GB/s each way, 1 ms from end to end\n" in text
    assert "  slowest part  " in text
    assert str(result.plan) in text
    assert str(result.score) in text
    cut = result.plan.micro_batches
    assert str(result.plan).startswith(f"plan: 4 sequences in {cut} micro-batches, each token to")
    assert re.search(r"^  the link .*8\.19 kB cross it for a token$", text, re.MULTILINE)


@pytest.mark.slow
def test_a_result_on_a_cluster_names_its_pools_and_what_is_proved():
    cluster = pl.load_cluster("three-macs")
    graph = pl.load_model("llama-3.1-8b", weight_dtype="bf16")
    text = str(pl.partition_cluster(graph, cluster, pl.Workload(), minimize="tpot_s"))
    assert "on m2-ultra: 1 × Apple M2 Ultra" in text
    assert "m1-max: 1 × Apple M1 Max" in text
    assert "optimal: tpot_s =" in text
    assert "pools in the order of the layers: m2-ultra" in text
    assert re.search("^chosen from: ", text, re.MULTILINE)
    header = next(line for line in text.splitlines() if line.split()[:2] == ["stage", "pool"])
    assert header.split() == ["stage", "pool", "layers", "TP", "EP", "attention", "DP", "chips"]
    assert re.search(r"^  0 +m2-ultra +\d+ \(embedding…\S+\) +1 +1 +1 +0$", text, re.MULTILINE)


@pytest.mark.slow
def test_a_fleet_shows_the_plan_of_each_deployment():
    found = pl.partition_fleet(
        pl.load_model("llama-3.2-1b"), pl.load_cluster("three-macs"), pl.Workload(batch_size=None)
    )
    lines = str(found).splitlines()
    assert sum(line.startswith("chosen from: ") for line in lines) == 1
    assert sum(line.startswith("plan on ") for line in lines) == len(found.deployments)


def test_a_new_plan_after_a_failure_says_what_it_moves():
    topology, graph = (
        tiny_topology(8, software=tiny_software(most_tensor_parallel=1)),
        tiny_graph(4),
    )
    before = pl.partition(graph, topology, pl.Workload(), minimize="chips")
    text = str(pl.replan(before, lost=(0,)))
    assert text.startswith("without chips 0: moves ")
    assert "no plan as good moves fewer bytes" in text
    assert "read anew" in text
