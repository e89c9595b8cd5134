"""Hold device maps against the modules of a model, with accelerate's own check, and ask transformers for
its plan of tensor ranks. Runs in an environment with both, without ours.

    python huggingface_reads.py < plans.jsonl
"""

import json
import sys
from typing import Any

import torch
from accelerate.utils.modeling import check_device_map
from transformers import AutoConfig, AutoModelForCausalLM


def faults_of(case: dict[str, Any]) -> list[str]:
    """Parts of the model without a place, layers with a wrong one, and plans that are missing."""
    config = AutoConfig.for_model(**case["config"])
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    wanted = case["launch"]
    if wanted["tensor_parallel"] > 1:
        return [] if config.base_model_tp_plan else ["no tp_plan"]
    text = case["text"]
    space: dict[str, Any] = {}
    exec(text[text.index("LOADING") : text.index("\nmodel = ")], space)
    places = space["LOADING"]["device_map"]
    try:
        check_device_map(model, places)
    except ValueError as error:
        return [str(error)]
    cards = [places[f"model.layers.{layer}"] for layer in range(sum(wanted["layers"]))]
    taken = [cards.count(card) for card in range(wanted["pipeline_parallel"])]
    return [] if taken == wanted["layers"] else [f"{taken}, not {wanted['layers']}"]


def main() -> int:
    """How many maps are whole."""
    cases = [json.loads(line) for line in sys.stdin]
    wrong = 0
    for case in cases:
        faults = faults_of(case)
        wrong += bool(faults)
        if faults:
            print(*faults)
    print(f"huggingface: {len(cases) - wrong} of {len(cases)} plans are whole")
    return int(wrong > 0 or not cases)


if __name__ == "__main__":
    raise SystemExit(main())
