import pytest

from planner.export.exporting import to_engine
from planner.export.exports import Export
from tests.exported import runnable


def test_an_export_is_kept_as_json_and_finds_its_files():
    export = to_engine(next(runnable("vllm", 1)), "vllm")
    assert Export.from_json(export.to_json()) == export
    assert export.file("benchmark.sh").startswith("#!/usr/bin/env bash")
    assert "--- benchmark.sh\n#!/usr/bin/env bash" in str(export)
    assert "schema_version" not in str(export)
    with pytest.raises(StopIteration):
        export.file("nowhere")
