import pytest

from planner.launches.starts import MOST_NESTED, engine_of_image, started_in


@pytest.mark.parametrize(
    ("text", "engine", "told"),
    [
        ("vllm serve m -tp 2", "vllm", ["m", "-tp", "2"]),
        ("nohup /opt/venv/bin/vllm serve m &", "vllm", ["m"]),
        ("env A=1 uv run vllm serve m", "vllm", ["m"]),
        ("$ vllm serve m", "vllm", ["m"]),
        ("python3 -u -m vllm.entrypoints.openai.api_server --model m", "vllm", ["--model", "m"]),
        ("python -m sglang.launch_server --tp 2", "sglang", ["--tp", "2"]),
        ("sglang serve --model-path m", "sglang", ["--model-path", "m"]),
        ("./build/bin/llama-server -m m.gguf", "llama.cpp", ["-m", "m.gguf"]),
        ("mpirun -n 8 trtllm-llmapi-launch trtllm-serve m", "tensorrt-llm", ["m"]),
        ("trtllm-serve serve m", "tensorrt-llm", ["m"]),
        ("bash -lc 'cd /x && vllm serve m'", "vllm", ["m"]),
        ("docker run -d vllm/vllm-openai:v0.9 --model m", "vllm", ["--model", "m"]),
        ("docker run i bash -c 'vllm serve m'", "vllm", ["m"]),
        (
            "docker run ghcr.io/ggml-org/llama.cpp:server-cuda -m m.gguf",
            "llama.cpp",
            ["-m", "m.gguf"],
        ),
        ("podman run lmsysorg/sglang:x python3 -m sglang.launch_server", "sglang", []),
    ],
)
def test_an_engine_is_found_behind_what_starts_it(text: str, engine: str, told: list[str]) -> None:
    [one] = started_in(text)
    assert one.engine == engine
    assert [word.text for word in one.words] == told


@pytest.mark.parametrize(
    "text",
    [
        "pip install vllm",
        "vllm bench serve",
        "echo hello",
        "docker pull vllm/vllm-openai",
        "serve vllm",
    ],
)
def test_other_commands_start_none(text: str) -> None:
    assert [one for one in started_in(text) if one.words] == []


def test_variables_come_from_assignments_exports_and_containers() -> None:
    [one] = started_in("A=1\nexport B=2; C=$A$B D=4 vllm serve m")
    assert {name: one.known[name] for name in "ABCD"} == {"A": "1", "B": "2", "C": "12", "D": "4"}
    [one] = started_in("""docker run --gpus '"device=2,3"' -e A=1 --env=B=2 vllm/vllm-openai m""")
    assert one.known == {"CUDA_VISIBLE_DEVICES": "2,3", "A": "1", "B": "2"}


def test_an_assignment_before_a_command_holds_for_it_alone() -> None:
    first, second = started_in("A=1 vllm serve m; vllm serve m")
    assert "A" in first.known
    assert "A" not in second.known


def test_shells_in_shells_end_somewhere() -> None:
    text = "vllm serve m"
    for _ in range(MOST_NESTED + 2):
        text = "bash -c " + "'" + text.replace("'", "'\\''") + "'"
    assert started_in(text) == []


def test_images_that_start_an_engine_are_known() -> None:
    assert engine_of_image("vllm/vllm-openai:latest") == "vllm"
    assert engine_of_image("lmsysorg/sglang:latest") is None
