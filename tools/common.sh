# common.sh - what the commands of ./dev share. Sourced, not run.
# shellcheck shell=bash

say() { printf '%s\n' "$*"; }
die() { printf 'dev: %s\n' "$*" >&2; exit 1; }

# build_dir PRESET: where CMakePresets.json puts it.
build_dir() { [ "$1" = release ] && echo build || echo "build-$1"; }

# build_preset PRESET [TARGET...]: configures (quick when nothing changed) and compiles; the compiler's lines only where it has some to say.
build_preset() {
    local dir log
    dir=$(build_dir "$1")
    mkdir -p "$dir"
    log=$dir/dev.log
    # A generator that was picked earlier, or a tree that moved, leaves a cache which cmake refuses: start afresh then.
    if ! cmake --preset "$1" >"$log" 2>&1; then
        rm -rf "$dir/CMakeCache.txt" "$dir/CMakeFiles"
        cmake --preset "$1" >"$log" 2>&1 || { cat "$log" >&2; die "cmake --preset $1 failed"; }
    fi
    ninja -C "$dir" -j "$JOBS" "${@:2}" >>"$log" 2>&1 || { grep -v '^\[[0-9]*/[0-9]*\] ' "$log" >&2; die "compiling $dir failed, see $log"; }
}

# steady CMD...: without address space randomisation where the system allows that; sanitizers of gcc 12 and clang 14 fail
# at random to find room for their shadow memory with it.
steady() {
    if setarch "$(uname -m)" -R true 2>/dev/null; then setarch "$(uname -m)" -R "$@"; else "$@"; fi
}

# c_files: written C code, NUL-separated.
c_files() { git ls-files -z --cached --others --exclude-standard -- '*.c' '*.h'; }
