#!/bin/bash
# Training on several machines under Slurm: one torchrun a machine, continued from the last checkpoint when it is started
# again. Everything after the script's name goes to `cxrgen train`; docs/scaling.md says what the machines must share.
#
#   sbatch --nodes 2 scripts/slurm.sh qwen3-vl-8b-full --model_name_or_path MODEL --data_path SET --output_dir RUN
#
#SBATCH --job-name=cxrgen
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=64
#SBATCH --time=24:00:00
#SBATCH --signal=TERM@600
#SBATCH --requeue
#SBATCH --open-mode=append
set -euo pipefail

GPUS=${GPUS:-${SLURM_GPUS_ON_NODE:-8}}
MASTER=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-8}

# --signal: ten minutes before the time is over every process gets SIGTERM, finishes its step and writes a checkpoint.
# --resume: starts from the beginning where there is none yet.
exec srun --kill-on-bad-exit=1 torchrun \
    --nnodes "$SLURM_NNODES" --nproc_per_node "$GPUS" \
    --rdzv_id "$SLURM_JOB_ID" --rdzv_backend c10d --rdzv_endpoint "$MASTER:${PORT:-29500}" \
    -m cxrgen train "$@" --resume
