# The part of the official image's interface that infra/compose uses: POSTGRES_USER, POSTGRES_DB, POSTGRES_PASSWORD_FILE
# and the data directory; a password over the network, none on the socket or on loopback.
set -eu
if [ "$(id -u)" = 0 ]; then
  POSTGRES_PASSWORD=$(cat "$POSTGRES_PASSWORD_FILE")
  export POSTGRES_PASSWORD
  mkdir -p "$PGDATA" && chmod 700 "$PGDATA"
  chmod 2775 /run/postgresql
  chown -R postgres "$PGDATA" /run/postgresql
  exec gosu postgres sh "$0"
fi
if [ ! -s "$PGDATA/PG_VERSION" ]; then
  password=$(mktemp)
  printf '%s\n' "$POSTGRES_PASSWORD" > "$password"
  initdb --username="$POSTGRES_USER" --pwfile="$password" --auth=trust > /dev/null
  rm "$password"
  echo "host all all all scram-sha-256" >> "$PGDATA/pg_hba.conf"
  pg_ctl --wait --options="-c listen_addresses=''" start > /dev/null
  createdb --username="$POSTGRES_USER" "$POSTGRES_DB"
  pg_ctl --wait stop > /dev/null
fi
unset POSTGRES_PASSWORD
exec postgres -c listen_addresses='*'
