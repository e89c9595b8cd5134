"""Tests of plans on a real llama.cpp: what was loaded is what the product says today."""

import itertools
import signal
import socket
import stat
from pathlib import Path

import pytest

from benchmarks import engine_runs
from benchmarks.engine_cases import CASES, graph_of, planned, result_of
from benchmarks.engine_runs import (
    EngineError,
    case_in,
    check_ports,
    kept,
    processes_of,
    read_rows,
    run,
    table,
    write_rows,
)
from planner.errors import InputError

ROWS = read_rows()
PAGE = Path(__file__).resolve().parents[1] / "docs" / "running.md"


def runs():
    """The kept rows of each run."""
    return [
        list(rows)
        for _, rows in itertools.groupby(
            ROWS, key=lambda row: [row[name] for name in list(row)[: list(row).index("device")]]
        )
    ]


def test_all_cases_were_run():
    assert [case_in(rows[0])._replace(cut=None) for rows in runs()] == [
        case._replace(cut=None) for case in CASES
    ]
    assert {row["source"] for row in ROWS} == {"run here"}
    assert all(row["version"] and row["date"] for row in ROWS)


@pytest.mark.slow
@pytest.mark.parametrize("number", range(len(CASES)))
def test_devices_loaded_what_the_product_says_today(number, tmp_path):
    rows = runs()[number]
    case = case_in(rows[0])
    result = result_of(case, graph_of(case, tmp_path)[0])
    for row, today in zip(rows, planned(result), strict=True):
        assert int(row["layers_loaded"]) == today.layers == int(row["layers_planned"])
        assert int(row["weights_loaded_bytes"]) == today.weight_bytes
        assert int(row["kv_loaded_bytes"]) == today.kv_bytes
    assert [int(row["output_loaded"]) for row in rows] == [0] * (len(rows) - 1) + [1]


def test_plans_of_one_model_and_cache_give_the_same_tokens():
    found = {}
    for row in ROWS:
        found.setdefault((row["model"], row["kv"]), set()).add(row["tokens"])
    assert all(len(tokens) == 1 for tokens in found.values())
    assert all(len(row["tokens"].split()) == 12 for row in ROWS)


def test_the_page_has_the_table():
    assert "\n".join(table(ROWS)) in PAGE.read_text(encoding="utf-8")


EXPORTED = (
    'CUDA_VISIBLE_DEVICES=0 rpc-server -H 0.0.0.0 -p 50052',
    'CUDA_VISIBLE_DEVICES=0 llama-server -m m.gguf --rpc "$NODE_0:50052" -sm layer -ts 1,12 -np 4'
    " --host 0.0.0.0 --port 8080",
)  # fmt: skip


def programs(folder, lender="exec sleep 600", server="exec sleep 600"):
    """A folder with programs that do so little."""
    for name, text in (("ggml-rpc-server", lender), ("llama-server", server)):
        path = folder / name
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return folder


def test_a_core_is_lent_for_each_card_and_all_else_stays_as_exported(tmp_path):
    first, second, server = processes_of(EXPORTED, programs(tmp_path), 7001)
    assert first.words[1:] == ("-H", "127.0.0.1", "-p", "7001")
    assert second.words[1:] == ("-H", "127.0.0.1", "-p", "7002")
    assert server.words[1:] == (
        "-m", "m.gguf", "--rpc", "127.0.0.1:7001,127.0.0.1:7002", "-sm", "layer", "-ts", "1,12",
        "-np", "4", "--host", "127.0.0.1", "--port", "7003", "-v",
    )  # fmt: skip


def test_a_missing_engine_is_a_sentence(tmp_path):
    with pytest.raises(InputError, match="has no ggml-rpc-server: `make engines-run` builds"):
        processes_of(EXPORTED, tmp_path, 7001)


def test_a_port_in_use_is_a_sentence(capsys, tmp_path):
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        held.listen()
        port = held.getsockname()[1]
        with pytest.raises(InputError, match=f"port {port} of 127.0.0.1 is in use; give --port"):
            check_ports(port, 1)
        given = [str(programs(tmp_path)), "--port", str(port)]
        assert engine_runs.main(given) == 1
    assert f"port {port} of 127.0.0.1 is in use" in capsys.readouterr().out


def free_ports(count):
    """As many as a run takes, one after the other."""
    for first in range(21000, 60000, 7):
        try:
            check_ports(first, count)
        except InputError:
            continue
        return first
    raise AssertionError("no port is free")


def test_an_engine_that_does_not_start_is_a_sentence_and_leaves_no_process(tmp_path):
    said = "echo starting; echo 'error: no backend has device RPC0'; echo bye; exit 1"
    processes = processes_of(EXPORTED, programs(tmp_path, lender=said), free_ports(3))
    with pytest.raises(EngineError, match="ggml-rpc-server did not start: error: no backend has"):
        run(processes, tmp_path)


def test_processes_end_with_the_block_also_where_it_is_interrupted(tmp_path):
    started = processes_of(EXPORTED, programs(tmp_path), free_ports(3))[0]
    with pytest.raises(KeyboardInterrupt), kept(started, tmp_path) as guard:
        raise KeyboardInterrupt
    assert guard.returncode == 0


def test_rows_are_written_whole_or_not_at_all(tmp_path):
    path = tmp_path / "rows.csv"
    write_rows(ROWS[:2], path)
    assert read_rows(path) == ROWS[:2]
    with pytest.raises(ValueError, match="fields not in fieldnames"):
        write_rows([ROWS[0], {"new": "1"}], path)
    assert read_rows(path) == ROWS[:2]
    assert [one.name for one in tmp_path.iterdir()] == ["rows.csv"]


def test_sigterm_ends_a_run_as_ctrl_c_does(monkeypatch, tmp_path):
    monkeypatch.setattr(engine_runs, "rows_of", lambda *_: signal.raise_signal(signal.SIGTERM))
    before = signal.getsignal(signal.SIGTERM)
    try:
        with pytest.raises(KeyboardInterrupt):
            engine_runs.main([str(programs(tmp_path)), "--port", str(free_ports(4))])
    finally:
        signal.signal(signal.SIGTERM, before)
