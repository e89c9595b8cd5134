#!/usr/bin/env bash
# llama-3.1-70b on 4 × NVIDIA Test, for huggingface 5.24.
# Options: transformers 5.24 and accelerate 1.15, read; not validated by the engine.
# 1 engine: tensor 1, pipeline 4, experts 1, attention data 1; at most 64 sequences in each, of 1000
# + 200 tokens.
# The fullest chip was priced with weights of 38 GB, caches of 6.06 GB and buffers of 131 MB, of 90
# GB that may be filled.
# Decoder layers of the stages: 21, 20, 20, 19.
# The engine decides its kernels for attention (attn_implementation) and how its cache grows.
# The engine decides nothing of the cut; models whose parts have other names than model.layers need
# them changed in device_map.
set -euo pipefail

CUDA_VISIBLE_DEVICES=0,1,2,3 \
python3 serve.py
