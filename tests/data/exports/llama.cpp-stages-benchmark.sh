#!/usr/bin/env bash
# Sends the engines the load that the plan was made for.
set -euo pipefail

env CUDA_VISIBLE_DEVICES=0,1,2,3 llama-batched-bench \
  -m models/model.gguf \
  -sm layer \
  -ts 21,20,20,20 \
  -ngl 81 \
  -c 78848 \
  -b 8192 \
  -ub 8192 \
  -npp 1000 \
  -ntg 200 \
  -npl 64
