# lint.sh - ./dev lint and ./dev fmt. Sourced, not run.
# shellcheck shell=bash

help_lint() {
    cat <<'HELP'
usage: ./dev lint [FILE.c ...]

Checks, changes nothing: clang-format, clang-tidy (.clang-tidy; the files named, or all: some ten minutes), cppcheck, shellcheck
for scripts, ruff for Python.
HELP
}

help_fmt() {
    cat <<'HELP'
usage: ./dev fmt [FILE ...]

Formats in place: C code by .clang-format, the files named or all; without names also the Python code.
HELP
}

lint_format() {
    local wrong
    wrong=$(c_files | xargs -0 -r clang-format --dry-run -Werror 2>&1 | sed -n 's/^\([^ :]*\):[0-9]*:[0-9]*: error: .*/\1/p' | sort | uniq -c) || true
    [ -z "$wrong" ] || { printf '%s\n' "not as ./dev fmt writes it (places, file):" "$wrong"; return 1; }
}

lint_shell() {
    local script
    for script in dev .ci/run tools/*.sh tests/peers/*.sh; do bash -n "$script" || return 1; done
    shellcheck -x -S info dev .ci/run tools/*.sh tests/peers/*.sh
}

lint_python() {
    "$VENV/bin/ruff" check -q --config tests/ruff.toml tests examples dashboards && "$VENV/bin/ruff" format -q --config tests/ruff.toml --check tests examples dashboards
}

lint_tidy() {
    local files=("$@")
    [ ${#files[@]} -gt 0 ] || mapfile -t files < <(git ls-files --cached --others --exclude-standard -- 'collector/*.c' 'exporters/*.c' 'emitter/*.c' 'examples/*.c')
    # With assertions: they tell it what always holds. Two flags of gcc in the compilation database that clang 14 does not know.
    printf '%s\0' "${files[@]}" | xargs -0 -r -n 4 -P "$JOBS" clang-tidy --quiet -p build --extra-arg=-UNDEBUG --extra-arg=-Wno-unknown-warning-option --extra-arg=-Wno-ignored-optimization-argument 2>/dev/null
}

# ledger.c: a constant number of words is copied in a loop that cppcheck takes for one that may not run.
lint_cppcheck() {
    cppcheck --quiet --std=c11 -j "$JOBS" -U__clang_analyzer__ --inline-suppr --error-exitcode=1 --enable=warning,portability --suppress=missingIncludeSystem \
        --suppress=normalCheckLevelMaxBranches --suppress=toomanyconfigs --suppress=uninitvar:collector/core/ledger.c -I . collector exporters emitter examples/proxy
}

cmd_lint() {
    deps_build
    deps_test
    build_preset release
    local bad=() check
    for check in lint_format lint_shell lint_python lint_cppcheck; do
        say "$check"
        $check || bad+=("$check")
    done
    say lint_tidy
    lint_tidy "$@" || bad+=(lint_tidy)
    [ ${#bad[@]} -eq 0 ] || die "failed: ${bad[*]}"
    say "lint: clean"
}

cmd_fmt() {
    command -v clang-format >/dev/null || apt_have clang-format
    if [ $# -gt 0 ]; then
        clang-format -i "$@"
        return
    fi
    c_files | xargs -0 -r clang-format -i
    venv_have
    "$VENV/bin/ruff" check -q --config tests/ruff.toml --select I --fix tests examples dashboards
    "$VENV/bin/ruff" format -q --config tests/ruff.toml tests examples dashboards
}
