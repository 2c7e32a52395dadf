# shellcheck shell=bash
# Redis, for deploy/local/servers, which sources it. It sets and reads `redis_port`.

kept_redis_port() { sed -n 's/^port //p' "$local_dir/redis.conf" 2>/dev/null || true; }

# As asked for; else as before; else the usual one of these scripts.
settle_redis_port() {
  local had
  had=$(kept_redis_port)
  redis_port=${PUSHGRID_LOCAL_REDIS_PORT:-${had:-16379}}
  if [[ -n $had && $had != "$redis_port" ]] && redis_runs; then
    fail "Redis runs at port $had here, and PUSHGRID_LOCAL_REDIS_PORT says $redis_port: \`$0 down\` first"
  fi
}

redis_runs() { pid_of redis "$local_dir/redis.conf" >/dev/null; }

redis_url() { echo "redis://127.0.0.1:$redis_port"; }

# An address without the name and the password in it.
without_secret() { sed -E 's#//[^/@]*@#//#' <<<"$1"; }

redis_pings() {
  # shellcheck disable=SC2016 # The inner shell has its own parameters.
  timeout 2 bash -c '
    exec 3<>"/dev/tcp/$0/$1" && printf "PING\r\n" >&3 && read -r answer <&3 || exit 1
    [[ $answer == +PONG* || $answer == -NOAUTH* ]]
  ' "$1" "$2" 2>/dev/null
}

# Whether the Redis of a URL answers. One that cannot be asked from a script is taken at its word.
redis_answers() {
  local rest host port
  [[ $1 =~ ^rediss?:// ]] || return 0
  rest=${1#*://} rest=${rest%%/*} rest=${rest%%\?*} rest=${rest##*@}
  host=${rest%:*} port=6379
  # Not the colons of an address of IPv6, which stands in brackets.
  if [[ $rest =~ :([0-9]+)$ ]]; then port=${BASH_REMATCH[1]}; else host=$rest; fi
  host=${host#[} host=${host%]}
  if [[ $1 == rediss:* ]]; then accepts "$host" "$port"; else redis_pings "$host" "$port"; fi
}

start_redis() {
  local pid started conf=$local_dir/redis.conf
  if pid=$(pid_of redis "$conf"); then
    say "redis: runs already (process $pid)"
    return
  fi
  need_port redis "$redis_port" 'Set PUSHGRID_LOCAL_REDIS_PORT to another one.'
  command -v redis-server >/dev/null || install_packages redis-server
  mkdir -p "$local_dir/redis"
  # It keeps nothing: all that is in it can be built again from Kafka. Nor may it choose what to forget.
  cat >"$conf" <<TEXT
bind 127.0.0.1
port $redis_port
dir "$local_dir/redis"
daemonize no
save ""
appendonly no
maxmemory-policy noeviction
set-proc-title no
TEXT
  started=$(now_ms)
  launch redis "$local_dir/redis" redis-server "$conf"
  pid=$(<"$local_dir/redis.pid")
  until redis_pings 127.0.0.1 "$redis_port"; do
    lives "$pid" || { last_lines redis; fail 'redis ended while it started'; }
    (($(now_ms) - started < START_SECONDS * 1000)) || { last_lines redis; fail "redis is not ready after $START_SECONDS s"; }
    sleep 0.05
  done
  say "redis: ready after $(seconds_since "$started"), at 127.0.0.1:$redis_port"
}
