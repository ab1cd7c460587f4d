#!/bin/sh
# What a step of training costs on a GPU, in under ten minutes, with torch and transformers alone: nothing is downloaded.
#   sh benchmarks/gpu.sh [--smoke]        PYTHON names another Python; --smoke: a tiny network on the CPU, seconds
set -eu
cd "$(dirname "$0")/.."
PYTHONPATH=. exec timeout 570 "${PYTHON:-python3}" benchmarks/gpu.py "$@"
