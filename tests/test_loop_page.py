"""`docs/loop.md`: its commands answer as it says, with a run that was kept in place of ranks."""

import json
import math
import re
import shlex
import shutil
from pathlib import Path

import pytest

from planner.plan import Plan
from planner.readers.run_file import read_run

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs" / "loop.md").read_text(encoding="utf-8")
KEPT = ROOT / "tests" / "data" / "loop"
BLOCKS = re.findall(r"```console\n(.*?)```(?:\s*```text\n(.*?)```)?", PAGE, flags=re.DOTALL)


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with the model, and what `machine cores` and `run` wrote when they were run."""
    for path in KEPT.iterdir():
        shutil.copy(path, tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def words_of(line):
    return shlex.split(line.removeprefix("planner "))


@pytest.mark.slow
def test_the_commands_of_the_page_answer_as_it_says(run, here):
    answered = 0
    for commands, text in BLOCKS:
        out = ""
        for line in commands.splitlines():
            words = words_of(line)
            if words[0] in ("machine", "run"):
                continue  # these need PyTorch: the files that they wrote lie here
            answer = run(*words)
            assert answer.status == 0, answer.err
            out = answer.out
        if text:
            assert text in out
            answered += 1
    assert answered >= 3


def test_the_kept_run_is_the_one_that_the_page_asks_for(run, here):
    lines = [line for commands, _ in BLOCKS for line in commands.splitlines()]
    (asked,) = [words_of(line) for line in lines if line.startswith("planner run ")]
    given = dict(zip(asked[2::2], asked[3::2], strict=True))
    kept = read_run(here / given["--save"])
    (planned,) = [line for line in lines if line.endswith(f"--out {given['--plan']}")]
    run(*words_of(planned))
    assert kept.plan.stages == Plan.from_json(Path(given["--plan"]).read_text()).stages
    load = kept.workload
    assert given["--batch"] == str(load.batch_size)
    assert given["--prompt"] == str(load.prompt_tokens)
    assert given["--output"] == str(load.output_tokens)
    assert kept.config == json.loads((here / asked[1]).read_text())
    assert kept.machine["name"] in (here / given["--machine"]).read_text()


def errors(run, kept, *stack):
    """|ln(predicted / measured)| of a kept run, by the stack that is shipped or another."""
    load = read_run(Path(kept)).workload
    answer = run(
        "score", kept, kept, "--plan", kept, "--weights", "fp32", "--kv", "fp32",
        "--arrivals", "together", "--batch", load.batch_size, "--prompt", load.prompt_tokens,
        "--output", load.output_tokens, "--format", "json", *stack,
    )  # fmt: skip
    assert answer.status == 0, answer.err
    took = json.loads(Path(kept).read_text())
    score = answer.fields["score"]
    return [abs(math.log(score[name] / took[name])) for name in ("ttft_s", "tpot_s")]


@pytest.mark.slow
def test_the_price_of_the_run_moves_to_what_it_took(run, here):
    before = errors(run, "run.json")
    assert (
        run("calibrate", "run.json", "--software", "torch-gloo", "--out", "mine.toml").status == 0
    )
    after = errors(run, "run.json", "--software", "mine.toml")
    assert sum(after) < 0.8 * sum(before)
