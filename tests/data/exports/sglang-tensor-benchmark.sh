#!/usr/bin/env bash
# Sends the engines the load that the plan was made for.
set -euo pipefail

python3 -m sglang.bench_serving \
  --backend sglang \
  --base-url http://127.0.0.1:7900 \
  --model meta-llama/Meta-Llama-3.1-70B \
  --dataset-name random \
  --random-input-len 1000 \
  --random-output-len 200 \
  --random-range-ratio 1 \
  --num-prompts 512 \
  --max-concurrency 64
