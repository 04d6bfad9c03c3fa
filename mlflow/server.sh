#!/bin/sh
# Start the tracking server and its UI: mlflow/server.sh ENVFILE [more options of `mlflow server`]
set -eu
if [ $# -lt 1 ] || [ ! -r "$1" ]; then
    echo "error: no settings file; expected mlflow/sqlite.env or mlflow/postgres.env; run: mlflow/server.sh ENVFILE" >&2
    exit 2
fi
case "$1" in
    */*) settings="$1" ;;
    *) settings="./$1" ;;
esac
shift

# MLflow reads these variables itself. As arguments they would show the password in the process list.
set -a
. "$settings"
MLFLOW_DISABLE_TELEMETRY="${MLFLOW_DISABLE_TELEMETRY:-true}"
set +a

exec mlflow server "$@"
