#!/usr/bin/env bash
# Sends the engines the load that the plan was made for.
set -euo pipefail

env CUDA_VISIBLE_DEVICES=0,1,2,3 \
  torchrun \
  --nproc-per-node 4 \
  --master-port 29500 \
  serve.py
