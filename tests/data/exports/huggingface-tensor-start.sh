#!/usr/bin/env bash
# llama-3.1-70b on 8 × NVIDIA Test, for huggingface 5.24.
# Options: transformers 5.24 and accelerate 1.15, read; not validated by the engine.
# 2 engines: tensor 4, pipeline 1, experts 1, attention data 1; at most 32 sequences in each, of
# 1000 + 200 tokens.
# The fullest chip was priced with weights of 35.3 GB, caches of 2.89 GB and buffers of 45.1 MB, of
# 90 GB that may be filled.
# The engine decides its kernels for attention (attn_implementation) and how its cache grows.
# The engine decides which matrices are split: the model's own base_model_tp_plan.
set -euo pipefail

CUDA_VISIBLE_DEVICES=0,1,2,3 \
torchrun \
  --nproc-per-node 4 \
  --master-port 29500 \
  serve.py &

CUDA_VISIBLE_DEVICES=4,5,6,7 \
torchrun \
  --nproc-per-node 4 \
  --master-port 29501 \
  serve.py &

wait
