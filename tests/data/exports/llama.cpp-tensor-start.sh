#!/usr/bin/env bash
# llama-3.1-70b on 8 × NVIDIA Test, for llama.cpp b9824.
# Options: its own server, which was run (llama-cpp-python 0.3.36); lenders are ggml-rpc-server.
# 2 engines: tensor 4, pipeline 1, experts 1, attention data 1; at most 32 sequences in each, of
# 1000 + 200 tokens.
# The fullest chip was priced with weights of 35.3 GB, caches of 2.89 GB and buffers of 45.1 MB, of
# 90 GB that may be filled.
# The engine decides its kernels, and whether attention is fused (-fa auto).
# The engine decides which slot a request goes to, by how much of its prompt is there already.
set -euo pipefail

CUDA_VISIBLE_DEVICES=0,1,2,3 \
llama-server \
  -m models/model.gguf \
  -sm tensor \
  -ts 1,1,1,1 \
  --fit off \
  -ngl 81 \
  -np 32 \
  -c 39424 \
  -b 8192 \
  -ub 8192 \
  --host 0.0.0.0 \
  --port 8080 &

CUDA_VISIBLE_DEVICES=4,5,6,7 \
llama-server \
  -m models/model.gguf \
  -sm tensor \
  -ts 1,1,1,1 \
  --fit off \
  -ngl 81 \
  -np 32 \
  -c 39424 \
  -b 8192 \
  -ub 8192 \
  --host 0.0.0.0 \
  --port 8081 &

wait
