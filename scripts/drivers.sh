#!/usr/bin/env bash
# Finds what runs WGSL without a GPU, two Vulkan drivers and a browser, and installs what is missing (as root on Debian and
# Ubuntu). Prints a line each: its name, then the path of the driver's manifest or of the program.
set -euo pipefail

# The first of these files that exists, if one does.
first() {
  local path
  for path in "$@"; do
    if [[ -e "$path" ]]; then
      echo "$path"
      return
    fi
  done
}

llvmpipe() {
  first /usr/share/vulkan/icd.d/lvp_icd*.json /usr/local/share/vulkan/icd.d/lvp_icd*.json
}

swiftshader() {
  first /usr/lib/chromium*/vk_swiftshader_icd.json /opt/google/chrome/vk_swiftshader_icd.json
}

browser() {
  command -v chromium || command -v google-chrome || true
}

loader() {
  ldconfig -p | grep --max-count=1 --only-matching '/.*libvulkan\.so\.1' || true
}

missing=()
[[ -n "$(loader)" ]] || missing+=(libvulkan1)
[[ -n "$(llvmpipe)" ]] || missing+=(mesa-vulkan-drivers)
[[ -n "$(swiftshader)" && -n "$(browser)" ]] || missing+=(chromium)
if ((${#missing[@]} > 0)); then
  if [[ "$(id --user)" != 0 ]] || ! command -v apt-get >/dev/null; then
    echo "these are needed: ${missing[*]} (named as on Debian); install them and try again" >&2
    exit 1
  fi
  export DEBIAN_FRONTEND=noninteractive
  apt-get update --quiet=2 >&2
  apt-get install --quiet=2 --yes --no-install-recommends "${missing[@]}" >&2
fi

for name in llvmpipe swiftshader browser; do
  path="$("$name")"
  if [[ -z "$path" ]]; then
    echo "$name is not where it is expected, although its package is installed" >&2
    exit 1
  fi
  echo "$name $path"
done
