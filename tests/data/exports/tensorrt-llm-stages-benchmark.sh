#!/usr/bin/env bash
# Sends the engines the load that the plan was made for.
set -euo pipefail
: "${NODE_0:?set NODE_0 to the address of that node}"

python3 -m tensorrt_llm.serve.scripts.benchmark_serving \
  --backend openai \
  --base-url "http://$NODE_0:8000" \
  --model meta-llama/Meta-Llama-3.1-70B \
  --dataset-name random \
  --random-ids \
  --random-input-len 1000 \
  --random-output-len 200 \
  --random-prefix-len 0 \
  --ignore-eos \
  --num-prompts 512 \
  --max-concurrency 64
