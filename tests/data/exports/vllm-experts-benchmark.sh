#!/usr/bin/env bash
# Sends the engines the load that the plan was made for.
set -euo pipefail
: "${NODE_0:?set NODE_0 to the address of that node}"

vllm bench serve \
  --backend vllm \
  --base-url "http://$NODE_0:8000" \
  --model Qwen/Qwen3-235B-A22B \
  --dataset-name random \
  --random-input-len 1000 \
  --random-output-len 200 \
  --random-range-ratio 0 \
  --ignore-eos \
  --num-prompts 512 \
  --percentile-metrics ttft,tpot,itl,e2el \
  --max-concurrency 64
