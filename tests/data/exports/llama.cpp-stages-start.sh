#!/usr/bin/env bash
# llama-3.1-70b on 4 × NVIDIA Test, for llama.cpp b9824.
# Options: its own server, which was run (llama-cpp-python 0.3.36); lenders are ggml-rpc-server.
# 1 engine: tensor 1, pipeline 4, experts 1, attention data 1; at most 64 sequences in each, of 1000
# + 200 tokens.
# The fullest chip was priced with weights of 38 GB, caches of 6.06 GB and buffers of 131 MB, of 90
# GB that may be filled.
# Decoder layers of the stages: 21, 20, 20, 19.
# The engine decides its kernels, and whether attention is fused (-fa auto).
# The engine decides when a sequence's pass is cut for the next stage (each slot by itself).
# The engine decides which slot a request goes to, by how much of its prompt is there already.
set -euo pipefail

CUDA_VISIBLE_DEVICES=0,1,2,3 \
llama-server \
  -m models/model.gguf \
  -sm layer \
  -ts 21,20,20,20 \
  -ngl 81 \
  -np 64 \
  -c 78848 \
  -b 8192 \
  -ub 8192 \
  --host 0.0.0.0 \
  --port 8080
