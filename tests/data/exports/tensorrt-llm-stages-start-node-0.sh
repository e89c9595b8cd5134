#!/usr/bin/env bash
# llama-3.1-70b on 16 × NVIDIA Test, for tensorrt-llm 1.2.
# Options: its documentation: --config; not validated by the engine.
# 1 engine: tensor 8, pipeline 2, experts 1, attention data 1; at most 64 sequences in each, of 1000
# + 200 tokens.
# The fullest chip was priced with weights of 9.03 GB, caches of 1.48 GB and buffers of 32.8 MB, of
# 90 GB that may be filled.
# Decoder layers of the stages: 41, 39.
# The engine decides how many tokens its cache holds: free_gpu_memory_fraction of what it finds
# free; 80.9 GB were priced on the fullest chip.
# The engine decides its kernels for attention, matmuls and collectives, and which of them CUDA
# graphs hold.
# The engine decides which sequences share a micro-batch (as many are in flight as stages: 2 were
# priced).
# Node 0: chips 0 to 7 of the machine.
set -euo pipefail
: "${NODE_0:?set NODE_0 to the address of that node}"
: "${NODE_1:?set NODE_1 to the address of that node}"

CUDA_VISIBLE_DEVICES=0,1,2,3,4,5,6,7 \
mpirun -n 16 --allow-run-as-root \
  --host "$NODE_0:8,$NODE_1:8" -x CUDA_VISIBLE_DEVICES \
  trtllm-llmapi-launch trtllm-serve meta-llama/Meta-Llama-3.1-70B \
  --config trtllm.yaml \
  --host 0.0.0.0 \
  --port 8000
