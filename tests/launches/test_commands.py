"""What commands start: those of public pages, held against what they come to by hand; and what is
said of those that are wrong."""

import os
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.errors import InputError
from planner.launches.commands import read_command
from planner.launches.launch import Launch
from planner.launches.ranks import by_stage

PUBLIC = tomllib.loads(
    (Path(__file__).parents[1] / "data" / "commands.toml").read_text(encoding="utf-8")
)["command"]
DEGREES = ("tensor_parallel", "pipeline_parallel", "expert_parallel", "attention_parallel")


def stated(launch: Launch) -> dict[str, Any]:
    """Fields that are not as they are without a word."""
    return launch.model_dump(exclude_defaults=True, exclude={"version", "chips_per_node"})


def as_record(fields: dict[str, Any]) -> dict[str, Any]:
    return stated(Launch.from_fields(fields))


@pytest.mark.parametrize("row", PUBLIC, ids=[str(at) for at in range(len(PUBLIC))])
def test_commands_of_public_pages_come_to_what_they_come_to_by_hand(row: dict[str, Any]) -> None:
    reading = read_command(row["text"])
    assert stated(reading.launch) == as_record(row["launch"])
    left_out = [
        one.text.split()[0].split("=")[0] for one in reading.told if "left out" in one.words
    ]
    assert [name.replace("_", "-") for name in left_out] == row.get("left_out", [])
    assert not reading.asked


def test_a_variable_without_a_value_is_asked_for() -> None:
    reading = read_command("vllm serve $MODEL -tp $TP")
    assert len(reading.asked) == 2
    assert all("has no value" in one for one in reading.asked)
    assert reading.launch.tensor_parallel == 1


def test_a_command_without_a_model_asks_for_one() -> None:
    assert "--model" in read_command("vllm serve -tp 2").asked[0]


def test_only_the_first_of_several_engines_is_read() -> None:
    reading = read_command("vllm serve a -tp 2\nvllm serve b -tp 4")
    assert (reading.launch.model, reading.launch.tensor_parallel) == ("a", 2)
    assert "only the first command" in reading.told[-1].words


def test_like_engines_on_chips_of_their_own_are_replicas() -> None:
    lines = [f"CUDA_VISIBLE_DEVICES={n},{n + 1} vllm serve a -tp 2 --port {n} &" for n in (0, 2, 4)]
    launch = read_command("\n".join(lines)).launch
    assert (launch.replicas, launch.devices) == (3, ((0, 1), (2, 3), (4, 5)))
    shared = [line.replace("=2,3", "=0,1") for line in lines]
    assert read_command("\n".join(shared)).launch.replicas == 1


def test_a_file_of_options_lies_beside_the_command_and_the_command_comes_first(
    tmp_path: Path,
) -> None:
    (tmp_path / "x.yaml").write_text("tensor-parallel-size: 4\nmax-num-seqs: 8\n")
    script = tmp_path / "run.sh"
    script.write_text("exec vllm serve m --config x.yaml -tp 2\n")
    launch = read_command(script).launch
    assert (launch.tensor_parallel, launch.most_sequences) == (2, 8)
    assert read_command(str(script)).launch == launch


@pytest.mark.parametrize(
    "name", ["{out}/x.yaml", "../x.yaml", "link.yaml", "/etc/passwd", "/dev/zero"]
)
def test_a_script_names_no_file_out_of_its_folder(tmp_path: Path, name: str) -> None:
    (tmp_path / "x.yaml").write_text("tensor-parallel-size: 4\n")
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "link.yaml").symlink_to(tmp_path / "x.yaml")
    script = folder / "run.sh"
    script.write_text(f"vllm serve m --config {name.format(out=tmp_path)}\n")
    reading = read_command(script)
    assert reading.launch.tensor_parallel == 1
    assert any("is missing" in one for one in reading.asked)
    # What a person types may name any file.
    typed = read_command(f"vllm serve m --config {tmp_path}/x.yaml")
    assert typed.launch.tensor_parallel == 4


def test_trtllm_takes_the_file_before_the_command() -> None:
    text = "cat > x.yml <<E\ntensor_parallel_size: 4\nE\ntrtllm-serve m --tp_size 2 --config x.yml"
    assert read_command(text).launch.tensor_parallel == 4


def test_a_file_of_options_that_is_not_here_is_asked_for() -> None:
    assert "is missing" in read_command("vllm serve m --config nowhere.yaml").asked[0]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "the command is empty"),
        ("ls -l", "does not start a known engine"),
        ("vllm bench serve --model m", "does not start a known engine"),
        ("vllm serve m -tp 0", "at least 1"),
        ("vllm serve m -tp x", "a whole number"),
        ("vllm serve 'm", "not closed"),
        ("CUDA_VISIBLE_DEVICES=0,1 vllm serve m -tp 4", "2 chips visible"),
        ("VLLM_PP_LAYER_PARTITION=3,4 vllm serve m -pp 3", "gives 2 stages"),
        ("vllm serve m --gpu-memory-utilization 1.2", "at most 1"),
        ("sglang serve m --tp 8 --attn-dp-size 3", "must divide"),
        ("trtllm-serve disaggregated -c x.yaml", "disaggregated is not read"),
        ("llama-server -m m.gguf -ts x", "shares such as 3,1"),
    ],
)
def test_what_is_wrong_is_said_in_a_sentence(text: str, words: str) -> None:
    with pytest.raises(InputError, match=words) as caught:
        read_command(text)
    assert "\n" not in str(caught.value)


DEGREE = st.integers(1, 16)


@pytest.mark.slow
@given(
    engine=st.sampled_from(("vllm", "sglang")),
    degrees=st.tuples(DEGREE, DEGREE, DEGREE),
    cut=st.booleans(),
    most=st.none() | st.integers(1, 4096),
    first=st.integers(0, 7),
)
def test_degrees_that_are_written_as_a_command_are_read_as_they_were(
    engine: str, degrees: tuple[int, int, int], cut: bool, most: int | None, first: int
) -> None:
    tensor, stages, attention = degrees
    needed = tensor * stages * attention
    seen = ",".join(str(first + chip) for chip in range(needed))
    layers = ",".join(str(2 + stage % 3) for stage in range(stages))
    variable = "VLLM_PP_LAYER_PARTITION" if engine == "vllm" else "SGLANG_PP_LAYER_PARTITION"
    ranks = {
        "vllm": f"-tp {tensor} -pp {stages} -dp {attention}",
        "sglang": f"--tp {tensor * attention} --pp-size {stages} --attn-dp-size {attention}",
    }
    flag = {"vllm": "--max-num-seqs", "sglang": "--max-running-requests"}[engine]
    text = f"CUDA_VISIBLE_DEVICES={seen} {f'{variable}={layers} ' * cut}{engine} serve m {ranks[engine]}"
    launch = read_command(text + (f" {flag}={most}" if most else "")).launch
    assert (launch.tensor_parallel, launch.pipeline_parallel) == (tensor, stages)
    assert launch.attention_parallel == attention
    seen_by_stage = tuple(range(first, first + needed))
    assert launch.devices == (
        by_stage(launch, seen_by_stage) if engine == "vllm" else seen_by_stage,
    )
    assert launch.layers == (tuple(map(int, layers.split(","))) if cut else None)
    in_all = most if engine == "vllm" or not most else max(1, most // attention)
    assert launch.most_sequences == (in_all and in_all * attention)


def test_what_is_no_file_of_a_command_is_refused_in_a_sentence(tmp_path: Path) -> None:
    large = tmp_path / "large.sh"
    large.write_text("#" * 100_000, encoding="utf-8")
    with pytest.raises(InputError, match=r"has 97\.7 KiB; a command has at most 64"):
        read_command(str(large))
    with pytest.raises(InputError, match="is a folder without scripts of an export"):
        read_command(tmp_path)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(InputError, match="is a pipe or a device"):
        read_command(str(pipe))


@pytest.mark.parametrize(
    "text", ["cat <<E\n" * 2000 + "E\n", "cat " + "<<E " * 2000, "x<<E\n" + "a\n" * 9000]
)
def test_here_documents_without_end_are_read_once(text: str) -> None:
    with pytest.raises(InputError, match="does not start a known engine"):
        read_command(text)


def test_scripts_of_a_folder_are_read_together(tmp_path: Path) -> None:
    for node in (0, 1):
        place = f"# Node {node}: chips {2 * node} to {2 * node + 1} of the machine."
        text = f"{place}\nCUDA_VISIBLE_DEVICES=0,1 vllm serve m -tp 2\n"
        (tmp_path / f"start-node-{node}.sh").write_text(text, encoding="utf-8")
    assert read_command(tmp_path).launch.devices == ((0, 1), (2, 3))
