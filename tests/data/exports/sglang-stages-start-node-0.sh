#!/usr/bin/env bash
# llama-3.1-70b on 16 × NVIDIA Test, for sglang 0.5.23.
# Options: its own parser, ServerArgs of sglang 0.5.23.
# 1 engine: tensor 8, pipeline 2, experts 1, attention data 1; at most 64 sequences in each, of 1000
# + 200 tokens.
# The fullest chip was priced with weights of 9.03 GB, caches of 1.48 GB and buffers of 32.8 MB, of
# 90 GB that may be filled.
# Decoder layers of the stages: 41, 39.
# The engine decides how many tokens its cache holds: what --mem-fraction-static leaves; 80.9 GB
# were priced on the fullest chip.
# The engine decides its kernels for attention, matmuls and collectives, and which of them CUDA
# graphs hold.
# The engine decides which sequences share a micro-batch (as many are in flight as stages: 2 were
# priced).
# Node 0: chips 0 to 7 of the machine.
set -euo pipefail
: "${NODE_0:?set NODE_0 to the address of that node}"

CUDA_VISIBLE_DEVICES=0,1,2,3,4,5,6,7 SGLANG_PP_LAYER_PARTITION=41,39 \
python3 -m sglang.launch_server \
  --model-path meta-llama/Meta-Llama-3.1-70B \
  --tp-size 8 \
  --pp-size 2 \
  --max-running-requests 64 \
  --context-length 1232 \
  --chunked-prefill-size 8192 \
  --mem-fraction-static 0.899 \
  --nnodes 2 \
  --node-rank 0 \
  --dist-init-addr "$NODE_0:20000" \
  --host 0.0.0.0 \
  --port 30000
