# shellcheck shell=bash
# What deploy/local/servers, deploy/local/grid and tests/run share. It is sourced, never run.
#
# A part that these scripts run has a NAME, such as kafka-1 or ingress-0. In $local_dir lie NAME.pid, NAME.log (of its
# present life; the one before is NAME.log.old) and its configuration, whose path is among the words of its command
# line: that is how a process is known to be the part, and not another one that was given the same process id later.

: "${local_dir:?} ${program:?}" # Set by the script that sources this: its folder, and what it is called.
# A cold start on a machine that has much else to do.
# shellcheck disable=SC2034 # The scripts use it.
readonly START_SECONDS=90

say() { printf '%s: %s\n' "$program" "$*" >&2; }

fail() {
  say "$@"
  exit 1
}

refuse() {
  say "$1"
  printf 'See %s --help.\n' "$0" >&2
  exit 64
}

# Milliseconds since the machine started: for differences.
now_ms() {
  local up
  read -r up _ </proc/uptime
  echo $((10#${up/./} * 10))
}

seconds_since() {
  local ms=$(($(now_ms) - $1))
  printf '%d.%d s' $((ms / 1000)) $((ms % 1000 / 100))
}

# One run of a script at a time in one folder. Nothing that is started inherits the lock (9>&-).
lock() {
  mkdir -p "$local_dir"
  exec 9>"$local_dir/$1.lock"
  flock --nonblock 9 && return
  say "waiting for another run of $1 in $local_dir"
  flock --timeout 600 9 || fail "another run of $1 does not end: see who holds $local_dir/$1.lock"
}

# Debian packages, as root or with sudo. A service that a package brings is neither started nor left to start by itself.
install_packages() {
  (($#)) || return 0
  command -v apt-get >/dev/null || fail "this machine has no apt-get: install what Debian calls $*, and try again"
  local as_root=()
  if [[ $(id -u) != 0 ]]; then
    command -v sudo >/dev/null || fail "needs root or sudo, for: apt-get install $*"
    as_root=(sudo)
  fi
  say "installs the Debian packages $*"
  local apt=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 -qq)
  local policy=/usr/sbin/policy-rc.d made='' failed=0
  if [[ ! -e $policy ]]; then
    printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" tee "$policy" >/dev/null
    "${as_root[@]}" chmod 755 "$policy"
    made=$policy
  fi
  { "${apt[@]}" update && "${apt[@]}" install -y --no-install-recommends "$@"; } >&2 || failed=1
  [[ -z $made ]] || "${as_root[@]}" rm -f "$made"
  ((failed == 0)) || fail "apt-get could not install $*"
  if command -v systemctl >/dev/null; then
    local package
    for package in "$@"; do
      case $package in redis-*) "${as_root[@]}" systemctl disable --quiet "$package.service" >&2 || true ;; esac
    done
  fi
}

# Starts a part in a session of its own: launch NAME FOLDER COMMAND...
launch() {
  local name=$1 folder=$2
  shift 2
  local log=$local_dir/$name.log
  [[ ! -e $log ]] || mv -f "$log" "$log.old"
  (
    cd "$folder" || exit
    ulimit -n "$(ulimit -Hn)"
    exec setsid "$@" </dev/null >"$log" 2>&1 9>&-
  ) &
  printf '%s\n' "$!" >"$local_dir/$name.pid"
  disown
}

# Whether a process id is in use by something that has not ended yet.
lives() {
  local stat
  read -r stat 2>/dev/null <"/proc/$1/stat" || return 1
  stat=${stat##*) }
  [[ $stat != [ZX]* ]]
}

# The process id of a running part: pid_of NAME CONFIGURATION. A stale pid file counts for nothing.
pid_of() {
  local pid
  read -r pid 2>/dev/null <"$local_dir/$1.pid" || return 1
  [[ $pid =~ ^[0-9]+$ ]] && lives "$pid" || return 1
  tr '\0' '\n' 2>/dev/null <"/proc/$pid/cmdline" | grep -xF -- "$2" >/dev/null || return 1
  echo "$pid"
}

# Ends parts together: end_parts SECONDS EXTENSION NAME... SIGTERM, and SIGKILL for what still runs after SECONDS; with
# 0 seconds SIGKILL at once.
end_parts() {
  local bound=$1 extension=$2 name pid started
  shift 2
  local -A left=()
  for name in "$@"; do
    if pid=$(pid_of "$name" "$local_dir/$name.$extension"); then left[$name]=$pid; else rm -f "$local_dir/$name.pid"; fi
  done
  ((${#left[@]})) || return 0
  started=$(now_ms)
  if ((bound)); then
    kill -TERM "${left[@]}" 2>/dev/null || true
    # One that was stopped with SIGSTOP hears SIGTERM only now.
    kill -CONT "${left[@]}" 2>/dev/null || true
    await_ends "$bound" ended
    for name in "${!left[@]}"; do say "$name: still running $bound s after SIGTERM, so it is killed"; done
  fi
  ((${#left[@]})) || return 0
  started=$(now_ms)
  for name in "${!left[@]}"; do
    pid=$(pid_of "$name" "$local_dir/$name.$extension") && kill -KILL "$pid" 2>/dev/null
  done
  await_ends 10 killed
  ((${#left[@]} == 0)) || fail "not even SIGKILL ends ${!left[*]}"
}

# For end_parts: waits SECONDS at most, and takes out of `left` what has ended.
await_ends() {
  local bound=$1 word=$2 name
  while ((${#left[@]} && $(now_ms) - started < bound * 1000)); do
    for name in "${!left[@]}"; do
      lives "${left[$name]}" && continue
      say "$name: $word after $(seconds_since "$started")"
      unset "left[$name]"
      rm -f "$local_dir/$name.pid"
    done
    ((${#left[@]} == 0)) || sleep 0.05
  done
}

last_lines() {
  say "the last lines of $local_dir/$1.log:"
  tail -n 20 "$local_dir/$1.log" >&2 || true
}

# Whether something accepts connections: accepts HOST PORT.
# shellcheck disable=SC2016 # The inner shell has its own parameters.
accepts() { timeout 2 bash -c 'exec 3<>"/dev/tcp/$0/$1"' "$1" "$2" 2>/dev/null; }

# Fails when a port of this machine is in use: need_port NAME PORT WHAT-TO-DO.
need_port() {
  accepts 127.0.0.1 "$2" || return 0
  local who=''
  if command -v ss >/dev/null; then
    who=$(ss -Hltnp "sport = :$2" 2>/dev/null | sed -n 's/.*users:(("\([^"]*\)",pid=\([0-9]*\).*/ (\1, process \2)/p' | head -n 1)
  fi
  fail "$1 cannot start: 127.0.0.1:$2 is taken by another program$who. $3"
}
