#!/usr/bin/env bash
# Scores of two CSVs (study_id, report): bash scripts/cal_metric.sh --pred pred.csv --gt gt.csv --out scores
exec python3 -m cxrgen evaluate "$@"
