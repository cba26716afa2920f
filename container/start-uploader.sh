#!/usr/bin/env bash
# Runs silt in a container by one config, an uploader's flat file or a manifest:
#
#     ./start-uploader.sh uploader-config.yaml             until it is stopped
#     ./start-uploader.sh uploader-config.yaml run --once   another verb of silt's
#
# Mounted are the config's folder, read-only, and of the rest only what the config names: the folders of its
# databases, of local tables and of the state, the files of its secrets.  Every path means the same inside as
# outside.  Passed on are only the variables that the config names, those that an uploader's config is
# overridden by, and the store's sign-in (SILT_PASS="NAME NAME" adds others), and those only if they are set.
#
#   SILT_IMAGE    the image (siltlake)           SILT_ENGINE   docker or podman (whichever is there)
#   SILT_SOURCES  rw or ro: how the databases' folders are mounted.  rw, the default, is what a database in
#                 WAL mode needs; silt never writes to a database.  docs/container.md says when ro will do.
#   SILT_PORT     the status page's port on 127.0.0.1 (8585; 0: none)
#   SILT_DRY_RUN  1: print the command, one argument a line, instead of running it
set -euo pipefail

fail() {
    echo "start-uploader.sh: $*" >&2
    exit 1
}

[ $# -ge 1 ] || fail "name a config: ./start-uploader.sh uploader-config.yaml"
[ -f "$1" ] || fail "no such file: $1"
folder=$(cd "$(dirname "$1")" && pwd)
config=$folder/$(basename "$1")
shift
[ $# -gt 0 ] || set -- run

image=${SILT_IMAGE:-siltlake}
engine=${SILT_ENGINE:-}
for candidate in docker podman; do
    if [ -z "$engine" ] && command -v "$candidate" >/dev/null 2>&1; then engine=$candidate; fi
done
[ -n "$engine" ] || fail "neither docker nor podman is here: install one, or set SILT_ENGINE"
sources=${SILT_SOURCES:-rw}
case $sources in rw | ro) ;; *) fail "SILT_SOURCES is $sources: it is rw or ro" ;; esac

# The caller's own user: tables and state belong to whoever started this.
base=(--rm --read-only --cap-drop ALL --security-opt no-new-privileges --user "$(id -u):$(id -g)")
if [ "$engine" = podman ]; then base+=(--userns keep-id); fi
base+=(--tmpfs /tmp)

named=$(grep -v '^[[:space:]]*#' "$config" | grep -oE '[$]\{(secret:env:)?[A-Za-z_][A-Za-z0-9_]*' |
    sed -E 's/^..(secret:env:)?//' || true)
names="SQLITE_PATH TABLE_PATH STATE_DIR UPLOAD_INTERVAL NODE_ID
    AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY AWS_SESSION_TOKEN AWS_REGION AWS_DEFAULT_REGION AWS_ENDPOINT_URL
    AWS_ALLOW_HTTP AZURE_STORAGE_ACCOUNT_NAME AZURE_STORAGE_ACCOUNT_KEY AZURE_STORAGE_SAS_TOKEN
    AZURE_STORAGE_CLIENT_ID AZURE_STORAGE_CLIENT_SECRET AZURE_STORAGE_TENANT_ID $named ${SILT_PASS:-}"
for name in $(tr -s ' \n' '\n' <<<"$names" | sort -u); do
    # By name only: a value never stands on a command line, where others could read it.
    if [ "$name" != secret ] && [ -n "${!name:-}" ]; then base+=(--env "$name"); fi
done

# `mount PATH ro|rw`; what is named twice is writable if it is so once (a database beside its config).
folders=()
writable=" "
mount() {
    case " ${folders[*]-} " in *" $1 "*) ;; *) folders+=("$1") ;; esac
    if [ "$2" = rw ]; then writable+="$1 "; fi
}

mount "$folder" ro

# What the config names is told by silt itself, in the image.
resolve='
import sys
from silt import errors, manifest
try:
    found = manifest.load(sys.argv[1])
except errors.SiltError as error:
    sys.exit(str(error))
named = [("state", found.state_dir)]
named += [("source", source.path) for source in found.sources]
named += [("target", target.uri) for target in found.targets]
print(*map("\t".join, named), sep="\n")'
told=$("$engine" run "${base[@]}" --volume "$folder:$folder:ro" --network none --entrypoint python "$image" -c "$resolve" "$config") ||
    fail "silt cannot read $config (see above)"

state=
while IFS=$'\t' read -r kind path; do
    case $kind in
        state) state=$path ;;
        source)
            path=${path%%[\*\?\[]*} # a glob's folder is what comes before its first wildcard
            path=$(dirname "${path}x")
            [ -d "$path" ] || fail "the folder of a database is not there: $path"
            [ "$path" != / ] || fail "a database directly below / would mean mounting everything"
            mount "$path" "$sources"
            ;;
        target)
            case $path in
                file://*) path=${path#file://} ;;
                *://*) continue ;;
            esac
            mkdir -p "$path"
            mount "$path" rw
            ;;
    esac
done <<<"$told"
if [ -n "$state" ]; then
    mkdir -p "$state"
    mount "$state" rw
fi
while IFS=: read -r _ _ secret; do
    [ -z "$secret" ] || mount "$secret" ro
done < <(grep -oE '[$]\{secret:file:/[^}]+' "$config" || true)

volumes=()
for path in "${folders[@]}"; do
    case $writable in *" $path "*) mode=rw ;; *) mode=ro ;; esac
    volumes+=(--volume "$path:$path:$mode")
done

port=${SILT_PORT:-8585}
if [ "$port" != 0 ] && [ "$1" = run ]; then
    base+=(--publish "127.0.0.1:$port:8585" --env SILT_LISTEN=0.0.0.0:8585)
fi
if [ -t 0 ] && [ -t 1 ]; then base+=(--interactive --tty); fi

verb=$1
shift
command=("$engine" run "${base[@]}" "${volumes[@]}" "$image" "$verb" "$config" "$@")
if [ "${SILT_DRY_RUN:-}" = 1 ]; then
    printf '%s\n' "${command[@]}"
    exit 0
fi
exec "${command[@]}"
