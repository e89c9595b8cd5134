#!/usr/bin/env bash
# Shares requests out over the engines.
set -euo pipefail

vllm-router \
  --worker-urls http://127.0.0.1:8000 http://127.0.0.1:8001 \
  --policy round_robin \
  --host 0.0.0.0 \
  --port 7900
