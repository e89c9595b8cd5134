#!/usr/bin/env bash
# llama-3.1-70b on 8 × NVIDIA Test, for sglang 0.5.23.
# Options: its own parser, ServerArgs of sglang 0.5.23.
# 2 engines: tensor 4, pipeline 1, experts 1, attention data 1; at most 32 sequences in each, of
# 1000 + 200 tokens.
# The fullest chip was priced with weights of 35.3 GB, caches of 2.89 GB and buffers of 45.1 MB, of
# 90 GB that may be filled.
# The engine decides how many tokens its cache holds: what --mem-fraction-static leaves; 54.7 GB
# were priced on the fullest chip.
# The engine decides its kernels for attention, matmuls and collectives, and which of them CUDA
# graphs hold.
set -euo pipefail

CUDA_VISIBLE_DEVICES=0,1,2,3 \
python3 -m sglang.launch_server \
  --model-path meta-llama/Meta-Llama-3.1-70B \
  --tp-size 4 \
  --pp-size 1 \
  --max-running-requests 32 \
  --context-length 1232 \
  --chunked-prefill-size 8192 \
  --mem-fraction-static 0.899 \
  --host 0.0.0.0 \
  --port 30000 &

CUDA_VISIBLE_DEVICES=4,5,6,7 \
python3 -m sglang.launch_server \
  --model-path meta-llama/Meta-Llama-3.1-70B \
  --tp-size 4 \
  --pp-size 1 \
  --max-running-requests 32 \
  --context-length 1232 \
  --chunked-prefill-size 8192 \
  --mem-fraction-static 0.899 \
  --host 0.0.0.0 \
  --port 30001 &

wait
