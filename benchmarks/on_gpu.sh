#!/usr/bin/env bash
# All that only a GPU can show, in under eight minutes: the tests that need one, then each figure; all tables are printed
# once more at the end. A part that fails, or takes longer than its seconds, does not stop the others; the last line says
# how many did. Give a Python that has Lightning for its rows, if there is one.
set -uo pipefail
cd "$(dirname "$0")/.."
export PYTHONPATH=$PWD/src
failed=0
all=$(mktemp)
trap 'rm -f "$all"' EXIT
part() {
    local seconds=$1
    shift
    echo "== $* (at ${SECONDS} s)" | tee -a "$all"
    timeout "$seconds" "$@" | tee -a "$all"
    local status=$?
    ((status == 0)) || { echo "failed with status $status" | tee -a "$all"; failed=$((failed + 1)); }
}
part 180 python -m pytest -q -p no:cacheprovider -m gpu tests/gpu
part 40 python benchmarks/loop_against_step.py --gpu
part 40 python benchmarks/penalty_share.py --gpu l1 soft group_lasso
part 20 python benchmarks/cells_at_once.py --gpu
part 60 python benchmarks/cells_together.py --gpu
part 70 python benchmarks/path_against_cells.py --gpu
part 65 python benchmarks/against_peers.py --gpu "$@"
echo
cat "$all"
echo "== $failed parts failed, ${SECONDS} s"
exit "$((failed > 0))"
