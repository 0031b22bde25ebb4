#!/usr/bin/env bash
# Installs what is missing, builds, starts the server and prints lines for aws, rclone and curl.
# Arguments go to the server: scripts/run.sh -dir=/data/halofs -s3.port=9000
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
"$here/scripts/setup.sh" run
binary=$("$here/scripts/build.sh" | tail -n 1)
case " $*" in
*" -dir"* | *" --dir"*) exec "$binary" server "$@" ;;
*) exec "$binary" server -dir="$here/halofs-data" "$@" ;;
esac
