#!/bin/sh
# Builds the yardstick `make bench` measures against: llama.cpp's own llama-server, llama-embedding,
# llama-bench and llama-quantize (commit 0c1e570), from the sources that the PyPI package
# llama-cpp-python vendors. Only a package manager is used, nothing is installed system-wide.
#
#   benches/anchor.sh            builds into target/anchor (about four minutes on two idle cores)
#   benches/anchor.sh --where    prints the directory with the programs, or fails if there is none
#
# FILBERT_ANCHOR=DIR names a directory elsewhere.
set -eu
here=$(cd "$(dirname "$0")/.." && pwd)
dir=${FILBERT_ANCHOR:-$here/target/anchor}
version=0.3.36
sum=$(cat "$(dirname "$0")/anchor.sha256" 2>/dev/null || true)
bin=$dir/build/bin

if [ "${1:-}" = --where ]; then
    [ -x "$bin/llama-server" ] && [ -x "$bin/llama-embedding" ] && echo "$bin" && exit 0
    exit 1
fi
for tool in cmake g++ python3; do
    command -v "$tool" >/dev/null || { echo "anchor: \`$tool\` is missing: run \`make set-up\` first" >&2; exit 1; }
done
mkdir -p "$dir"
cd "$dir"
tarball=llama_cpp_python-$version.tar.gz
[ -f "$tarball" ] || python3 -m pip download --quiet --no-deps --no-binary llama-cpp-python "llama-cpp-python==$version"
if [ -n "$sum" ] && ! echo "$sum  $tarball" | sha256sum --check --quiet; then
    echo "anchor: $tarball is not the file this bench was written for; delete it and try again" >&2
    exit 1
fi
source=$dir/llama_cpp_python-$version/vendor/llama.cpp
[ -d "$source" ] || tar xf "$tarball"
cmake -S "$source" -B build -DCMAKE_BUILD_TYPE=Release -DGGML_NATIVE=ON -DLLAMA_CURL=OFF -DLLAMA_OPENSSL=OFF \
    -DLLAMA_BUILD_TESTS=OFF -DBUILD_SHARED_LIBS=OFF -DLLAMA_BUILD_UI=OFF >configure.log 2>&1 ||
    { tail -20 configure.log >&2; echo "anchor: cmake failed, see $dir/configure.log" >&2; exit 1; }
cmake --build build -j"$(nproc)" --target llama-server llama-embedding llama-quantize llama-bench >build.log 2>&1 ||
    { grep -i error build.log | head -20 >&2; echo "anchor: the build failed, see $dir/build.log" >&2; exit 1; }
echo "$bin"
