#!/usr/bin/env bash
# Shares requests out over the engines.
set -euo pipefail

python3 -m sglang_router.launch_router \
  --worker-urls http://127.0.0.1:30000 http://127.0.0.1:30001 \
  --policy round_robin \
  --host 0.0.0.0 \
  --port 7900
