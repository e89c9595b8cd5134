#!/usr/bin/env bash
# Asks of the engines what the plan was made for.
set -euo pipefail

env CUDA_VISIBLE_DEVICES=0,1,2,3 \
  torchrun \
  --nproc-per-node 4 \
  --master-port 29500 \
  serve.py
