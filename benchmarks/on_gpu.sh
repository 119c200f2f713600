#!/usr/bin/env bash
# All that only a GPU can show, in about eight minutes: the tests that need one, then each figure. A part that fails does
# not stop the others; the last line says how many did. Give a Python that has Lightning for its row, if there is one.
set -uo pipefail
cd "$(dirname "$0")/.."
export PYTHONPATH=$PWD/src
failed=0
part() {
    echo "== $* (${SECONDS} s)"
    timeout 150 "$@" || { echo "== failed with status $?"; failed=$((failed + 1)); }
}
part python -m pytest -q -p no:cacheprovider -m gpu tests/gpu
part python benchmarks/loop_against_step.py --gpu
part python benchmarks/penalty_share.py --gpu l1 soft group_lasso
part python benchmarks/cells_at_once.py --gpu
part python benchmarks/path_against_cells.py --gpu
part python benchmarks/against_peers.py --gpu "$@"
echo "== $failed parts failed, ${SECONDS} s"
exit "$((failed > 0))"
