#!/usr/bin/env bash
# LLaVA-Med's conversations and the list of its figures into ./data, as the original's script: bash scripts/download_data.sh
exec python3 -m cxrgen download data --out data "$@"
