#!/bin/sh
# Download everything that the series needs into a folder, for machines without a network:
#
#   wheelhouse.sh FOLDER [PLATFORM ...]
#
# Without a platform, the packages are for this machine and this Python. Platforms are linux, macos, macos-intel, and
# windows. For each, the packages are for Python 3.11 to 3.15, or for the versions in VERSIONS. Several calls may fill
# the same folder.
set -eu
folder=$1
shift
python=${PYTHON:-python3}
versions=${VERSIONS:-3.11 3.12 3.13 3.14 3.15}
wanted=$(mktemp)
trap 'rm -f "$wanted" "$wanted.list"' EXIT
grep -v '^-e' requirements.txt >"$wanted" # without the series itself, which is in this checkout
echo 'setuptools>=77.0.3' >>"$wanted" # builds the series on a machine without a network

fetch() {
    "$python" -m pip download --quiet --disable-pip-version-check --dest "$folder" "$@"
}

if [ $# = 0 ]; then
    fetch --prefer-binary --requirement "$wanted"
fi
for platform; do
    case $platform in
    linux)
        triple=x86_64-manylinux_2_28
        tags="manylinux_2_5_x86_64 manylinux_2_12_x86_64 manylinux_2_17_x86_64 manylinux2014_x86_64 manylinux_2_24_x86_64
            manylinux_2_26_x86_64 manylinux_2_27_x86_64 manylinux_2_28_x86_64"
        ;;
    macos)
        triple=aarch64-apple-darwin
        tags="macosx_11_0_arm64 macosx_12_0_arm64 macosx_14_0_arm64 macosx_11_0_universal2 macosx_10_9_universal2"
        ;;
    macos-intel)
        triple=x86_64-apple-darwin
        tags="macosx_10_9_x86_64 macosx_10_13_x86_64 macosx_12_0_x86_64 macosx_14_0_x86_64 macosx_10_9_universal2"
        ;;
    windows)
        triple=x86_64-pc-windows-msvc
        tags="win_amd64"
        ;;
    *) echo "there is no platform $platform: it is one of linux, macos, macos-intel, windows" >&2 && exit 2 ;;
    esac
    # pip evaluates conditions such as "only on Windows" for this machine and this Python. uv evaluates them for the
    # given platform and version. So uv makes the list of packages, and pip downloads them.
    command -v uv >/dev/null 2>&1 || { echo "for other platforms uv is needed: pip install uv" >&2 && exit 2; }
    for version in $versions; do
        uv pip compile --quiet --no-header --no-annotate --only-binary :all: --python-platform "$triple" \
            --python-version "$version" --output-file "$wanted.list" "$wanted" >/dev/null
        # shellcheck disable=SC2046,SC2086  # one option per tag
        fetch --no-deps --only-binary=:all: --python-version "$version" $(printf -- '--platform %s ' $tags) \
            --requirement "$wanted.list"
    done
done
files=$(find "$folder" -type f | wc -l | tr -d ' ')
echo "$files files, $(du -sh "$folder" | cut -f1). On a machine without a network: make lab WHEELS=$folder"
