import planner as pl
from planner.launches.scoring import score_command
from planner.launches.telling import command_text, gain_lines, reading_lines

LOAD = pl.Workload(batch_size=32, prompt_tokens=512, output_tokens=64)


def test_what_was_read_left_out_and_asked_is_told() -> None:
    reading = pl.read_command("vllm serve qwen3-8b -tp 2 --enable-dbo --foo --max-num-seqs $N")
    lines = reading_lines(reading)
    assert any("-tp 2" in line and "tensor parallel" in line for line in lines)
    assert any("--enable-dbo" in line and "not priced" in line for line in lines)
    assert any("--foo" in line and "left out" in line for line in lines)
    assert any("$N has no value" in line for line in lines)


def test_the_gain_is_told_with_its_proof() -> None:
    found = score_command("vllm serve qwen3-32b -tp 2 -pp 2", "hgx-h100", LOAD)
    lines = [line for line in gain_lines(found) if "measure both" not in line]
    price, same, proof, whole, _ = lines
    assert price.startswith("the command: request_s = ")
    assert "4 of 5 measurements would lie in " in price
    assert same.startswith("the best plan on the same 4 chips answers ")
    assert "% faster: TP4 in place of TP2 × PP2" in same
    assert "it is proved that no plan has a lower one" in proof
    assert "all 8 chips" in whole
    assert str(found) == command_text(found)


def test_a_gain_within_the_doubt_of_the_price_is_said_to_be_so() -> None:
    found = score_command("vllm serve qwen3-32b -tp 2 -pp 2", "hgx-h100", LOAD)
    assert found.score is not None
    assert found.best_on_same_chips is not None
    assert found.best_on_machine is not None
    low, high = found.score.interval("request_s")
    within = [
        low < best.objective < high for best in (found.best_on_same_chips, found.best_on_machine)
    ]
    said = [line for line in gain_lines(found) if "measure both" in line]
    assert len(said) == sum(within) > 0


def test_the_best_plan_gains_nothing_over_itself() -> None:
    found = score_command("vllm serve qwen3-32b -tp 8", "hgx-h100", LOAD)
    _, line, _ = gain_lines(found)
    assert line == "on the same 8 chips no plan is more than 0.5 % better than the command's, TP8"


def test_fewer_dollars_are_less_and_more_tokens_more() -> None:
    found = score_command(
        "vllm serve qwen3-32b -tp 2 -pp 2", "hgx-h100", LOAD, maximize="tokens_per_s"
    )
    assert any("% more tokens_per_s" in line for line in gain_lines(found))
    found = score_command(
        "vllm serve qwen3-32b -tp 2 -pp 2", "hgx-h100", LOAD, minimize="usd_per_million_tokens"
    )
    assert any("% less usd_per_million_tokens" in line for line in gain_lines(found))


def test_more_than_twice_as_fast_is_told_as_a_factor() -> None:
    found = score_command("vllm serve qwen3-32b -pp 8", "hgx-h100", LOAD)
    assert found.best_on_same_chips is not None
    gain = found.gain(found.best_on_same_chips)
    assert gain is not None
    assert gain > 1
    assert f"answers {1 + gain:.3g} times as fast" in gain_lines(found)[1]


def test_a_refusal_is_told_in_the_engines_name() -> None:
    found = score_command("vllm serve qwen3-8b -tp 3", "hgx-h100", LOAD)
    assert "vllm refuses it: stage 0: tensor_parallel = 3 does not divide the 32 heads" in str(
        found
    )


def test_sequences_that_wait_are_told_beside_the_gain() -> None:
    found = score_command("vllm serve qwen3-32b -tp 4 --max-num-seqs 8", "hgx-h100", LOAD)
    assert any("where the command lets 24 wait" in line for line in gain_lines(found))
