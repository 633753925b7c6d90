#!/usr/bin/env bash
# scripts/gpu.sh smoke | benchmark OUT [ROW,…] | contrastive DATA [JOBS] | adapters DATA [JOBS] | amazon DATA [JOBS]: what is worth running on a GPU. The interpreter is $PYTHON, or python3.
#   smoke        the tests of encoders, adapters, models and steps on the device, products in full float32 (a minute and a half on 16 cores)
#   benchmark    speed against torch.compile and PEFT, into the JSON file OUT (four minutes on an H200 and 16 cores; --seconds N for another limit)
#   contrastive  experiments/contrastive whole: four trainings and 13 evaluations, JOBS at once (14 by default; 7 minutes on an H200 and 16 cores).
#                DATA holds iisan-scientific, amazon2014-beauty, amazon2014-toys, amazon-office and amazon2018-scientific
#   adapters     experiments/which_adapter, then experiments/item_kernel, of the same DATA (JOBS 8 by default; not timed as a whole. More at once
#                compile against each other: sixteen took three minutes to begin); with MPNET=FOLDER its tables of all-mpnet-base-v2 too
#   amazon       experiments/amazon2014 with φ of Beauty's and of Toys' pairs, of the same DATA (JOBS 2 by default; not timed as a whole)
set -euo pipefail
cd "$(dirname "$0")/.."
export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}" XLA_PYTHON_CLIENT_PREALLOCATE=false
python="${PYTHON:-python3}"
case "${1:-}" in
  smoke)
    JAX_DEFAULT_MATMUL_PRECISION=highest "$python" -m pytest -q -n 12 -p no:cacheprovider tests/encoders tests/adapters tests/models \
      tests/training/test_step.py tests/training/test_objectives.py -m "not slow and not assets and not network and not faults" ;;
  benchmark)
    "$python" scripts/benchmark_gpu.py "${2:?scripts/gpu.sh benchmark OUT}" "${@:3}" ;;
  contrastive)
    data="${2:?scripts/gpu.sh contrastive DATA}"
    shops="$(mktemp -d)"
    "$python" scripts/join_sequences.py "$shops" "$data/amazon2014-beauty" "$data/amazon2014-toys" "$data/amazon-office"
    OMP_NUM_THREADS=2 OPENBLAS_NUM_THREADS=2 "$python" scripts/experiment.py contrastive iisan="$data/iisan-scientific" shops="$shops" \
      beauty="$data/amazon2014-beauty" toys="$data/amazon2014-toys" office="$data/amazon-office" \
      scientific="$data/amazon2018-scientific" dtype=bfloat16 rows=256 --jobs "${3:-14}" ;;
  adapters)
    data="${2:?scripts/gpu.sh adapters DATA}"
    quarter="$(mktemp -d)" half="$(mktemp -d)"
    "$python" scripts/join_sequences.py "$quarter" "$data/iisan-scientific" --users 0.25
    "$python" scripts/join_sequences.py "$half" "$data/iisan-scientific" --users 0.5
    export OMP_NUM_THREADS=2 OPENBLAS_NUM_THREADS=2
    "$python" scripts/experiment.py which_adapter iisan="$data/iisan-scientific" quarter="$quarter" half="$half" \
      scientific="$data/amazon2018-scientific" ${MPNET:+mpnet="$MPNET"} dtype=bfloat16 rows=512 --jobs "${3:-8}"
    "$python" scripts/experiment.py item_kernel office="$data/amazon-office" scientific="$data/amazon2018-scientific" \
      dtype=bfloat16 rows=512 --jobs "${3:-8}" ;;
  amazon)
    data="${2:?scripts/gpu.sh amazon DATA}"
    "$python" scripts/experiment.py amazon2014 beauty="$data/amazon2014-beauty" toys="$data/amazon2014-toys" dtype=bfloat16 rows=512 --jobs "${3:-2}" ;;
  *) sed -n '2,9p' "$0"; exit 1 ;;
esac
