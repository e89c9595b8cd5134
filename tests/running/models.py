"""Tiny models of each family, cut in any way, and the same run by transformers alone."""

from planner import load_model
from planner.plan import ChipRange, Plan, Stage

COMMON = {
    "hidden_size": 64,
    "num_hidden_layers": 4,
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "intermediate_size": 96,
    "vocab_size": 128,
    "max_position_embeddings": 256,
}
ROUTED = {
    "num_experts": 4,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 32,
    "norm_topk_prob": True,
}
FAMILIES = {
    "llama": {},
    "mistral": {"sliding_window": None},
    "qwen2": {"tie_word_embeddings": True},
    "qwen3": {},
    "mixtral": {"num_local_experts": 4, "num_experts_per_tok": 2},
    "qwen2_moe": {**ROUTED, "shared_expert_intermediate_size": 48},
    "qwen3_moe": ROUTED,
}


def config_of(family="llama", **fields):
    return {"model_type": family, **COMMON, **FAMILIES.get(family, {}), **fields}


def tiny_graph(tmp_path, config):
    import json

    path = tmp_path / "config.json"
    path.write_text(json.dumps(config))
    return load_model(str(path), weight_dtype="fp32", kv_dtype="fp32")


def cut_plan(cuts, tensor=1, expert=1, micro_batches=1, replicas=1):
    """So many decoder layers on each stage; the embedding with the first, the head with the
    last."""
    names = [f"decoder.{number}" for number in range(sum(cuts))]
    stages = []
    each = tensor * len(cuts)
    for number, count in enumerate(cuts):
        layers, names = names[:count], names[count:]
        if number == 0:
            layers = ["embedding", *layers]
        if number == len(cuts) - 1:
            layers = [*layers, "head"]
        stages.append(
            Stage(
                layers=tuple(layers),
                groups=tuple(
                    ChipRange(first=copy * each + number * tensor, count=tensor)
                    for copy in range(replicas)
                ),
                tensor_parallel=tensor,
                expert_parallel=expert,
            )
        )
    return Plan(stages=tuple(stages), micro_batches=micro_batches)


def unsplit(job):
    """Tokens and logits of the model that transformers builds, with the same weights."""
    import torch
    import transformers

    from planner.running.stages import drawn, prompts_of

    fields = dict(job.config)
    config = transformers.AutoConfig.for_model(fields.pop("model_type"), **fields)
    config._attn_implementation = "eager"
    model = transformers.AutoModelForCausalLM.from_config(config).eval()
    made = []
    with torch.no_grad():
        for name, weight in model.named_parameters():
            weight.copy_(drawn(torch, name, tuple(weight.shape), job.seed))
        tokens = prompts_of(torch, job)
        for _ in range(job.output_tokens):
            made.append(model(tokens).logits[:, -1])
            tokens = torch.cat([tokens, made[-1].argmax(-1, keepdim=True)], dim=1)
    answers = tuple(map(tuple, tokens[:, job.prompt_tokens :].tolist()))
    return answers, torch.stack(made, dim=1)
