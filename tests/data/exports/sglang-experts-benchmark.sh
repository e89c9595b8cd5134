#!/usr/bin/env bash
# Sends the engines the load that the plan was made for.
set -euo pipefail
: "${NODE_0:?set NODE_0 to the address of that node}"

python3 -m sglang.bench_serving \
  --backend sglang \
  --base-url "http://$NODE_0:30000" \
  --model Qwen/Qwen3-235B-A22B \
  --dataset-name random \
  --random-input-len 1000 \
  --random-output-len 200 \
  --random-range-ratio 1 \
  --num-prompts 512 \
  --max-concurrency 64
