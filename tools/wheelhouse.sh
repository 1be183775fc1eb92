#!/bin/sh
# Fill a folder with all that the series needs, for machines without a network: wheelhouse.sh FOLDER [PLATFORM ...]
#
# Without a platform: for this machine and this Python. With some of linux, macos, macos-intel and windows: for those,
# each for Python 3.11, 3.12 and 3.13. The folder may be filled more than once.
set -eu
folder=$1
shift
python=${PYTHON:-python3}
wanted=$(mktemp)
trap 'rm -f "$wanted"' EXIT
grep -v '^-e' requirements.txt >"$wanted" # the series itself is not downloaded: it is what the folder lies in
echo 'setuptools>=68' >>"$wanted" # builds it, also where there is no network

fetch() {
    "$python" -m pip download --quiet --disable-pip-version-check --dest "$folder" --requirement "$wanted" "$@"
}

# pip asks this machine, not the other, which of the packages "only on Windows", "only on macOS" and "only on 3.11" are
# needed: so those are named here. (uv pip compile --python-platform windows --python-version 3.11 lists them.)

if [ $# = 0 ]; then
    fetch --prefer-binary
fi
for platform; do
    case $platform in
    linux) only="" tags="manylinux_2_17_x86_64 manylinux2014_x86_64 manylinux_2_27_x86_64 manylinux_2_28_x86_64" ;;
    macos) only="appnope" tags="macosx_11_0_arm64 macosx_12_0_arm64 macosx_14_0_arm64 macosx_11_0_universal2 macosx_10_9_universal2" ;;
    macos-intel) only="appnope" tags="macosx_10_9_x86_64 macosx_10_13_x86_64 macosx_12_0_x86_64 macosx_10_9_universal2" ;;
    windows) only="colorama pywinpty" tags="win_amd64" ;;
    *) echo "there is no platform $platform: it is one of linux, macos, macos-intel, windows" >&2 && exit 2 ;;
    esac
    for version in 3.11 3.12 3.13; do
        # shellcheck disable=SC2046,SC2086  # one option a tag, one word a package
        fetch --only-binary=:all: --python-version "$version" $(printf -- '--platform %s ' $tags) $only overrides
    done
done
echo "$(ls "$folder" | wc -l | tr -d ' ') files, $(du -sh "$folder" | cut -f1). On a machine without a network: make lab WHEELS=$folder"
