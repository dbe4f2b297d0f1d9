# test.sh - ./dev test and ./dev fuzz. Sourced, not run.
# shellcheck shell=bash

help_test() {
    cat <<'HELP'
usage: ./dev test [--seconds N] [-k EXPR] [unit|mutants|asan|tsan|fuzz|scenario|lint ...]

Builds and runs the parts named (default: all), goes on after a failure, and ends with a line `N passed, N failed`;
exit status 0 only when nothing failed.
  unit      cmocka tests of the release build
  mutants   each counter of the ledger taken away in turn: the balance must break
  asan      the same under AddressSanitizer and UndefinedBehaviorSanitizer, and the scenarios marked `sanitized`
  tsan      the same under ThreadSanitizer
  fuzz      each fuzz target for some seconds (--seconds, default 6)
  scenario  the whole process against Envoy, Zipkin, Prometheus, nginx, h2spec (-k: only tests that match, as for pytest);
            WEIR_BIN=PATH tests another binary than build/weir
  lint      the scripts; the C code's format, and what cppcheck sees in it
HELP
}

help_fuzz() {
    cat <<'HELP'
usage: ./dev fuzz [--seconds N] [TARGET...]

Runs the fuzz targets named (default: all) for N seconds each (default 300), one a processor at a time, from tests/fuzz/corpus/NAME and from what
earlier runs found (build-fuzz/corpus/NAME). An input that breaks a target is left in build-fuzz/, its name is printed.
HELP
}

PASSED=0 FAILED=0
SUMMARY=()

# tally PART PASSED FAILED [NOTE]
tally() {
    PASSED=$((PASSED + $2)) FAILED=$((FAILED + $3))
    SUMMARY+=("$(printf '  %-10s %4d passed %4d failed   %s' "$1" "$2" "$3" "${4:-}")")
}

head_line() { printf '\n== %s\n' "$*"; }

# run_ctest PART PRESET: what does not compile counts as one failure.
run_ctest() {
    local part=$1 preset=$2 dir log total failed started=$SECONDS
    dir=$(build_dir "$preset")
    head_line "$part: unit tests, $dir"
    if ! (build_preset "$preset"); then tally "$part" 0 1 "does not build"; return 0; fi
    log=$dir/ctest.log
    ASAN_OPTIONS=${ASAN_OPTIONS:-detect_leaks=1} UBSAN_OPTIONS=print_stacktrace=1 TSAN_OPTIONS=${TSAN_OPTIONS:-halt_on_error=1} \
        steady ctest --test-dir "$dir" -j "$JOBS" --output-on-failure >"$log" 2>&1 || true
    grep -E '^ *[0-9]+/[0-9]+ Test .*(Failed|Timeout|Exception|Not Run)' "$log" || true
    total=$(sed -n 's/.* tests failed out of \([0-9]*\)$/\1/p' "$log" | tail -n 1)
    failed=$(sed -n 's/.*, \([0-9]*\) tests failed out of .*/\1/p' "$log" | tail -n 1)
    if [ -z "$total" ]; then tail -n 20 "$log"; tally "$part" 0 1 "ctest ran nothing, see $log"; return 0; fi
    [ "$failed" -eq 0 ] || sed -n '/\[  FAILED  \]\|ERROR: \|WARNING: ThreadSanitizer\|runtime error/p' "$log" | head -n 40
    tally "$part" $((total - failed)) "$failed" "$((SECONDS - started)) s, $log"
}

# run_mutants: one test alone, in a build of its own in which counters can be taken away.
run_mutants() {
    local dir log good bad started=$SECONDS
    dir=$(build_dir mutants)
    log=$dir/mutants.log
    head_line "mutants: counters of the ledger taken away, $dir"
    if ! (build_preset mutants lane_test_mutants); then tally mutants 0 1 "does not build"; return 0; fi
    steady "$dir/lane_test_mutants" >"$log" 2>&1 || true
    good=$(grep -c '^\[       OK \]' "$log" || true)
    bad=$(grep -c '^\[  FAILED  \] [a-z_]*$' "$log" || true)
    grep -E '^\[  FAILED  \] [a-z_]*$' "$log" || true
    [ $((good + bad)) -gt 0 ] || { tail -n 20 "$log"; bad=1; }
    tally mutants "$good" "$bad" "$((SECONDS - started)) s, $log"
}

# fuzz_one TARGET SECONDS: true when it found nothing.
fuzz_one() {
    local target=$1 seconds=$2 name corpus log
    name=${target#fuzz_}
    corpus=build-fuzz/corpus/$name
    log=build-fuzz/$target.log
    mkdir -p "$corpus"
    local seeds=()
    [ ! -d "tests/fuzz/corpus/$name" ] || seeds=("tests/fuzz/corpus/$name")
    if steady "build-fuzz/$target" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 \
        -artifact_prefix="build-fuzz/$name-" "$corpus" ${seeds[@]+"${seeds[@]}"} >"$log" 2>&1; then
        printf '  %-28s %9s inputs\n' "$target" "$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")"
    else
        printf '  %-28s BROKEN\n' "$target"
        grep -E 'ERROR: |runtime error|SUMMARY|Test unit written' "$log" | head -n 6 || true
        return 1
    fi
}

# fuzz_targets [NAME...]: the named ones or all, with or without fuzz_ in front.
fuzz_targets() {
    local source name
    if [ $# -gt 0 ]; then
        for name in "$@"; do name=fuzz_${name#fuzz_}; [ -f "tests/fuzz/$name.c" ] || die "no fuzz target $name"; echo "$name"; done
    else
        for source in tests/fuzz/fuzz_*.c; do [ ! -e "$source" ] || basename "$source" .c; done
    fi
}

# fuzz_all SECONDS TARGET...: JOBS of them at a time; GOOD and BAD are how many they were.
fuzz_all() {
    local seconds=$1 target running=()
    shift
    GOOD=0 BAD=0
    for target; do
        if [ ${#running[@]} -ge "$JOBS" ]; then fuzz_ended "${running[0]}"; running=("${running[@]:1}"); fi
        fuzz_one "$target" "$seconds" &
        running+=($!)
    done
    for target in ${running[@]+"${running[@]}"}; do fuzz_ended "$target"; done
}

fuzz_ended() { if wait "$1"; then GOOD=$((GOOD + 1)); else BAD=$((BAD + 1)); fi; }

run_fuzz() {
    local seconds=$1 started=$SECONDS
    head_line "fuzz: each target for $seconds s, $JOBS at a time"
    if ! (build_preset fuzz); then tally fuzz 0 1 "does not build"; return 0; fi
    # shellcheck disable=SC2046
    fuzz_all "$seconds" $(fuzz_targets)
    [ $((GOOD + BAD)) -gt 0 ] || { BAD=1; say "  no fuzz target found"; }
    tally fuzz $GOOD $BAD "$((SECONDS - started)) s"
}

# run_scenario PART PRESET [ARG...]: pytest on that build's binary, one file a processor at a time, four at most; ARG as for
# pytest.
run_scenario() {
    local part=$1 preset=$2 dir report counts started=$SECONDS
    shift 2
    dir=$(build_dir "$preset")
    report=$dir/scenario.xml
    head_line "$part: the whole process against real programs, $dir"
    if ! (build_preset "$preset"); then tally "$part" 0 1 "does not build"; return 0; fi
    rm -f "$report"
    WEIR_BIN=${WEIR_BIN:-$dir/weir} TSAN_OPTIONS=${TSAN_OPTIONS:-halt_on_error=1} steady "$VENV/bin/python" -m pytest tests/scenario -q --color=no \
        -p no:cacheprovider -n $((JOBS < 4 ? JOBS : 4)) --dist loadfile --no-loadscope-reorder --junitxml="$report" "$@" || true
    if [ ! -s "$report" ]; then tally "$part" 0 1 "pytest wrote no report"; return 0; fi
    # A scenario that was skipped has shown nothing: it counts as failed.
    counts=$("$VENV/bin/python" - "$report" <<'PY'
import sys, xml.etree.ElementTree as tree
suites = list(tree.parse(sys.argv[1]).getroot().iter("testsuite"))
tests, bad = (sum(int(s.get(k) or 0) for s in suites for k in keys) for keys in (("tests",), ("failures", "errors", "skipped")))
print(max(tests - bad, 0), bad if tests else 1)
PY
    )
    tally "$part" "${counts% *}" "${counts#* }" "$((SECONDS - started)) s, $report"
}

run_lint() {
    local good=0 bad=0 check started=$SECONDS
    head_line "lint: scripts, format, cppcheck"
    for check in lint_shell lint_python lint_format lint_cppcheck; do
        if $check; then good=$((good + 1)); else bad=$((bad + 1)); say "  $check failed"; fi
    done
    tally lint $good $bad "$((SECONDS - started)) s"
}

cmd_test() {
    local parts=() seconds=6 filter=''
    while [ $# -gt 0 ]; do
        case $1 in
            --seconds) [ $# -gt 1 ] || die "--seconds N"; seconds=$2; shift ;;
            -k) [ $# -gt 1 ] || die "-k EXPR"; filter=$2; shift ;;
            unit|mutants|asan|tsan|fuzz|scenario|lint) parts+=("$1") ;;
            *) die "test: unknown argument $1" ;;
        esac
        shift
    done
    [ ${#parts[@]} -gt 0 ] || parts=(lint unit mutants asan tsan fuzz scenario)
    deps_build
    deps_test
    deps_demo
    local part
    for part in "${parts[@]}"; do
        case $part in
            unit) run_ctest unit release ;;
            mutants) run_mutants ;;
            asan|tsan)
                run_ctest "$part" "$part"
                WEIR_BIN='' run_scenario "$part-run" "$part" -m sanitized ${filter:+-k "$filter"}
                ;;
            fuzz) run_fuzz "$seconds" ;;
            scenario) run_scenario scenario release ${filter:+-k "$filter"} ;;
            lint) run_lint ;;
        esac
    done
    printf '\n'
    printf '%s\n' "${SUMMARY[@]}"
    printf '\n%d passed, %d failed\n' "$PASSED" "$FAILED"
    [ "$FAILED" -eq 0 ]
}

cmd_fuzz() {
    local seconds=300 names=()
    while [ $# -gt 0 ]; do
        case $1 in
            --seconds) [ $# -gt 1 ] || die "--seconds N"; seconds=$2; shift ;;
            -*) die "fuzz: unknown argument $1" ;;
            *) names+=("$1") ;;
        esac
        shift
    done
    deps_build
    deps_test
    build_preset fuzz
    local targets
    targets=$(fuzz_targets ${names[@]+"${names[@]}"}) # what is unknown ends it here
    # shellcheck disable=SC2086
    fuzz_all "$seconds" $targets
    [ $BAD -eq 0 ] || die "$BAD targets broke; add what broke them to tests/fuzz/corpus/ with the fix"
}
