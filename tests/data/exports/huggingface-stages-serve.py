"""Loads the model as it was planned, and measures one batch."""

import time

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

MODEL = "meta-llama/Meta-Llama-3.1-70B"
LOADING = {"dtype": "auto"}
RUNS = [
    (0, range(0, 21)),
    (1, range(21, 41)),
    (2, range(41, 61)),
    (3, range(61, 80)),
]
"""Cards, and the decoder layers on each."""
ENDS = {"model.embed_tokens": 0, "model.rotary_emb": 0, "model.norm": 3, "lm_head": 3}
PLACES = {f"model.layers.{layer}": card for card, run in RUNS for layer in run}
LOADING["device_map"] = ENDS | PLACES

model = AutoModelForCausalLM.from_pretrained(MODEL, **LOADING).eval()
vocabulary = len(AutoTokenizer.from_pretrained(MODEL))
batch, prompt, output = 64, 1000, 200
tokens = torch.randint(0, vocabulary, (batch, prompt), device=model.device)
with torch.inference_mode():
    model.generate(tokens[:, :8], max_new_tokens=2, min_new_tokens=2, do_sample=False)
    begin = time.perf_counter()
    model.generate(tokens, max_new_tokens=output, min_new_tokens=output, do_sample=False)
    took = time.perf_counter() - begin
print(f"{batch * output / took:.1f} output tokens a second, {took:.2f} s for the batch")
