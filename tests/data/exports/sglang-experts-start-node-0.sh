#!/usr/bin/env bash
# qwen3-235b-a22b on 16 × NVIDIA Test, for sglang 0.5.23.
# Options: its own parser, ServerArgs of sglang 0.5.23.
# 1 engine: tensor 1, pipeline 1, experts 16, attention data 16; at most 64 sequences in each, of
# 1000 + 200 tokens.
# The fullest chip was priced with weights of 44.4 GB, caches of 866 MB and buffers of 180 MB, of 90
# GB that may be filled.
# The engine decides how many tokens its cache holds: what --mem-fraction-static leaves; 45.4 GB
# were priced on the fullest chip.
# The engine decides its kernels for attention, matmuls and collectives, and which of them CUDA
# graphs hold.
# The engine decides which attention rank a request goes to.
# The engine decides which rank holds which expert, and by which kernels tokens go there.
# Node 0: chips 0 to 7 of the machine.
set -euo pipefail
: "${NODE_0:?set NODE_0 to the address of that node}"

CUDA_VISIBLE_DEVICES=0,1,2,3,4,5,6,7 \
python3 -m sglang.launch_server \
  --model-path Qwen/Qwen3-235B-A22B \
  --tp-size 16 \
  --pp-size 1 \
  --attn-dp-size 16 \
  --ep-size 16 \
  --max-running-requests 64 \
  --context-length 1232 \
  --chunked-prefill-size 131072 \
  --mem-fraction-static 0.898 \
  --nnodes 2 \
  --node-rank 0 \
  --dist-init-addr "$NODE_0:20000" \
  --host 0.0.0.0 \
  --port 30000
