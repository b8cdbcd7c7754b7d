#!/bin/sh
# Makes what docker-compose.yml takes from secrets/. What is there already stays, so it is safe to run again: after an
# update it adds what is new. Needs openssl.
#
# The folder is its owner's alone (0700). The files in it are readable (0444), because compose hands them to containers
# as they are, whose users (1000 here, 999 in Postgres, 472 in Grafana) are not the one who made them.
set -eu
umask 077
cd "$(dirname "$0")/.."
folder=${1:-secrets}
mkdir -p "$folder"
chmod 700 "$folder"

# keep NAME: writes standard input into the file, whole or not at all, unless the file is there
keep() {
  if [ -e "$folder/$1" ]; then
    cat >/dev/null
    echo "kept    $folder/$1"
  else
    cat >"$folder/.$1.part"
    [ -s "$folder/.$1.part" ] || { echo "nothing to write into $folder/$1" >&2; exit 1; }
    chmod 444 "$folder/.$1.part"
    mv "$folder/.$1.part" "$folder/$1"
    echo "made    $folder/$1"
  fi
}

openssl rand -hex 24 | keep postgres-password
echo "postgres://liveness:$(cat "$folder/postgres-password")@postgres:5432/liveness" | keep database-url
openssl rand -base64 32 | keep secrets-key
openssl genpkey -algorithm ed25519 | keep audit-signing-key
echo "smtp://mailpit:1025" | keep smtp-url
echo "# As in ~/.aws/credentials: [default], aws_access_key_id = …, aws_secret_access_key = …" | keep aws-credentials
openssl rand -hex 16 | keep grafana-password
echo "Keep secrets-key and audit-signing-key somewhere else too: nobody can make them again."
