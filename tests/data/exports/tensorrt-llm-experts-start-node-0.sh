#!/usr/bin/env bash
# qwen3-235b-a22b on 16 × NVIDIA Test, for tensorrt-llm 1.2.
# Options: its documentation: --config; not validated by the engine.
# 1 engine: tensor 1, pipeline 1, experts 16, attention data 16; at most 64 sequences in each, of
# 1000 + 200 tokens.
# The fullest chip was priced with weights of 44.4 GB, caches of 869 MB and buffers of 180 MB, of 90
# GB that may be filled.
# The engine decides how many tokens its cache holds: free_gpu_memory_fraction of what it finds
# free; 45.4 GB were priced on the fullest chip.
# The engine decides its kernels for attention, matmuls and collectives, and which of them CUDA
# graphs hold.
# The engine decides which rank holds which expert, and by which kernels tokens go there.
# Node 0: chips 0 to 7 of the machine.
set -euo pipefail
: "${NODE_0:?set NODE_0 to the address of that node}"
: "${NODE_1:?set NODE_1 to the address of that node}"

CUDA_VISIBLE_DEVICES=0,1,2,3,4,5,6,7 \
mpirun -n 16 --allow-run-as-root \
  --host "$NODE_0:8,$NODE_1:8" -x CUDA_VISIBLE_DEVICES \
  trtllm-llmapi-launch trtllm-serve Qwen/Qwen3-235B-A22B \
  --config trtllm.yaml \
  --host 0.0.0.0 \
  --port 8000
