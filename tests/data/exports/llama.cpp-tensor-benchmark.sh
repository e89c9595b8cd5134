#!/usr/bin/env bash
# Sends the engines the load that the plan was made for.
set -euo pipefail

env CUDA_VISIBLE_DEVICES=4,5,6,7 llama-batched-bench \
  -m models/model.gguf \
  -sm tensor \
  -ts 1,1,1,1 \
  --fit off \
  -ngl 81 \
  -c 39424 \
  -b 8192 \
  -ub 8192 \
  -npp 1000 \
  -ntg 200 \
  -npl 32
