#!/usr/bin/env bash
# Sends the engines the load that the plan was made for.
set -euo pipefail

vllm bench serve \
  --backend vllm \
  --base-url http://127.0.0.1:7900 \
  --model meta-llama/Meta-Llama-3.1-70B \
  --dataset-name random \
  --random-input-len 1000 \
  --random-output-len 200 \
  --random-range-ratio 0 \
  --ignore-eos \
  --num-prompts 512 \
  --percentile-metrics ttft,tpot,itl,e2el \
  --max-concurrency 64
