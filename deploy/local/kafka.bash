# shellcheck shell=bash
# Apache Kafka, for deploy/local/servers, which sources it. It sets and reads `brokers` (how many) and `kafka_port`.

# What the first start chose: it holds until the data is deleted.
layout=$local_dir/kafka/layout

# One of it: kept brokers|port|id.
kept() { sed -n "s/^$1=//p" "$layout" 2>/dev/null || true; }

broker_names() { local id; for ((id = 1; id <= brokers; id++)); do echo "kafka-$id"; done; }
broker_port() { echo $((kafka_port + 100 * ($1 - 1))); }
broker_addresses() {
  local id all=''
  for ((id = 1; id <= brokers; id++)); do all+=,127.0.0.1:$(broker_port "$id"); done
  echo "${all#,}"
}

has_java() {
  local version
  version=$(java -version 2>&1 | sed -n 's/.* version "\([0-9]*\).*/\1/p') || return 1
  [[ -n $version ]] && ((version >= 17))
}

need_java() {
  has_java || install_packages default-jre-headless
  has_java || fail 'needs Java 17 or later: install it, and put its java first on the PATH'
}

# Sets `libs` to the folder with the jars of Kafka; installs them there if need be.
find_kafka() {
  if [[ -n ${KAFKA_HOME-} ]]; then
    compgen -G "$KAFKA_HOME/libs/kafka_2.1*-4.*.jar" >/dev/null || fail "KAFKA_HOME is $KAFKA_HOME, where no Kafka 4 is"
    libs=$KAFKA_HOME/libs
    need_java
    return
  fi
  libs=$kafka_home/libs
  local mark=$libs/.made-for wanted new
  wanted=$(sha256sum <"$here/kafka.xml")
  mkdir -p "$kafka_home"
  (
    exec 8>"$kafka_home/install.lock"
    flock --timeout 600 8 || fail "another installation does not end: see who holds $kafka_home/install.lock"
    [[ $(cat "$mark" 2>/dev/null) != "$wanted" ]] || exit 0
    command -v mvn >/dev/null || install_packages maven default-jre-headless
    need_java
    say "Kafka: from Maven Central into $libs (43 MB)"
    new=$(mktemp -d "$kafka_home/new.XXXXXX")
    trap 'rm -rf "$new"' EXIT
    # Even when quiet it prints escapes for colours.
    mvn --quiet --batch-mode --file "$here/kafka.xml" dependency:copy-dependencies -DincludeScope=runtime \
      -DoutputDirectory="$new" 2>&1 | sed 's/\x1b\[[0-9;]*m//g' >&2 || fail 'Maven could not fetch Kafka'
    echo "$wanted" >"$new/.made-for"
    chmod 755 "$new"
    rm -rf "$libs"
    mv "$new" "$libs"
  )
  need_java
}

write_broker_configuration() {
  local id=$1 other voters='' copies=$brokers in_sync
  in_sync=$((brokers > 1 ? brokers - 1 : 1))
  for ((other = 1; other <= brokers; other++)); do
    voters+=,$other@127.0.0.1:$(($(broker_port "$other") + 1))
  done
  cat >"$local_dir/kafka-$id.properties" <<TEXT
process.roles=broker,controller
node.id=$id
controller.quorum.voters=${voters#,}
listeners=PLAINTEXT://127.0.0.1:$(broker_port "$id"),CONTROLLER://127.0.0.1:$(($(broker_port "$id") + 1))
advertised.listeners=PLAINTEXT://127.0.0.1:$(broker_port "$id")
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
log.dirs=$local_dir/kafka/data-$id

# Topics are made by who knows what they must be.
auto.create.topics.enable=false
default.replication.factor=$copies
min.insync.replicas=$in_sync
offsets.topic.replication.factor=$copies
offsets.topic.num.partitions=3
transaction.state.log.replication.factor=$copies
transaction.state.log.min.isr=$in_sync
share.coordinator.state.topic.replication.factor=$copies
share.coordinator.state.topic.min.isr=$in_sync

# Quick to notice what has gone.
broker.session.timeout.ms=6000
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
group.consumer.min.session.timeout.ms=1000
group.consumer.session.timeout.ms=6000
group.consumer.min.heartbeat.interval.ms=500
group.consumer.heartbeat.interval.ms=1000

# For a small machine.
log.cleaner.dedupe.buffer.size=33554432
TEXT
}

java_command() {
  local flags=${PUSHGRID_LOCAL_KAFKA_JVM:--Xms128m -Xmx384m -XX:+UseSerialGC -XX:TieredStopAtLevel=1}
  # shellcheck disable=SC2086 # They are several words.
  printf '%s\0' java $flags -XX:+ExitOnOutOfMemoryError -Djava.awt.headless=true \
    "-Dlog4j2.configurationFile=$here/kafka-log.xml" -cp "$libs/*"
}

format_broker() {
  local id=$1 log=$local_dir/kafka-$1.format.log
  mkdir -p "$local_dir/kafka/data-$id"
  # Written last by the tool: without it there is nothing in the folder that could be lost.
  [[ ! -e $local_dir/kafka/data-$id/meta.properties ]] || return 0
  if ! "${java[@]}" kafka.tools.StorageTool format -t "$(kept id)" -c "$local_dir/kafka-$id.properties" >"$log" 2>&1; then
    tail -n 20 "$log" >&2
    return 1
  fi
  rm -f "$log"
}

# Sends one request of the Kafka protocol, given with \x escapes, and prints the answer in hexadecimal.
ask_kafka() {
  # shellcheck disable=SC2016 # The inner shell has its own parameters.
  timeout 5 bash -c '
    exec 3<>"/dev/tcp/$0/$1" && printf "$2" >&3 || exit 1
    size=$(head -c 4 <&3 | od -An -v -tx1 | tr -d " \n")
    [[ $size == 0000???? ]] || exit 1
    head -c $((16#$size)) <&3 | od -An -v -tx1 | tr -d " \n"
  ' "$1" "$2" "$3" 2>/dev/null
}

# How many live brokers the broker at HOST PORT knows: Metadata, version 1, of no topic.
count_brokers() {
  local answer
  answer=$(ask_kafka "$1" "$2" '\x00\x00\x00\x0e\x00\x03\x00\x01\x00\x00\x00\x01\xff\xff\x00\x00\x00\x00') || return 1
  [[ $answer == 00000001* && ${#answer} -gt 16 ]] || return 1
  echo $((16#${answer:8:8}))
}

# Whether groups can form: FindCoordinator, version 0, of the group "local". The first question makes the offsets topic.
has_coordinator() {
  local answer
  answer=$(ask_kafka 127.0.0.1 "$1" \
    '\x00\x00\x00\x11\x00\x0a\x00\x00\x00\x00\x00\x01\xff\xff\x00\x05local') || return 1
  [[ ${answer:0:12} == 000000010000 ]]
}

await_broker() {
  local id=$1 started=$2 port pid known
  port=$(broker_port "$id")
  while (($(now_ms) - started < START_SECONDS * 1000)); do
    if known=$(count_brokers 127.0.0.1 "$port") && ((known == brokers)); then
      say "kafka-$id: ready after $(seconds_since "$started"), at 127.0.0.1:$port"
      return
    fi
    pid=$(<"$local_dir/kafka-$id.pid")
    lives "$pid" || { last_lines "kafka-$id"; fail "kafka-$id ended while it started"; }
    sleep 0.1
  done
  last_lines "kafka-$id"
  fail "kafka-$id is not ready after $START_SECONDS s"
}

# Decides on the number of brokers and on ports: what the first start chose holds.
settle_layout() {
  local had_brokers had_port
  had_brokers=$(kept brokers) had_port=$(kept port)
  if [[ -n $had_brokers && -n $brokers && $had_brokers != "$brokers" ]]; then
    fail "the Kafka in $local_dir was made with $had_brokers broker(s). \`$0 down --wipe\` deletes it and its data; then \`up --brokers $brokers\` makes a new one"
  fi
  brokers=${had_brokers:-${brokers:-1}}
  kafka_port=${PUSHGRID_LOCAL_KAFKA_PORT:-${had_port:-19092}}
  if [[ -n $had_port && $had_port != "$kafka_port" ]] && some_broker_runs; then
    fail "Kafka runs at port $had_port here, and PUSHGRID_LOCAL_KAFKA_PORT says $kafka_port: \`$0 down\` first"
  fi
}

some_broker_runs() {
  local name
  for name in $(broker_names); do pid_of "$name" "$local_dir/$name.properties" >/dev/null && return; done
  return 1
}

write_layout() {
  local id
  mkdir -p "$local_dir/kafka"
  id=$(kept id)
  # A leading "-" would look like an option.
  until [[ $id == [[:alnum:]]* ]]; do id=$(head -c 16 /dev/urandom | base64 | tr '+/' '-_' | cut -c 1-22); done
  printf 'brokers=%s\nport=%s\nid=%s\n' "$brokers" "$kafka_port" "$id" >"$layout.new"
  mv "$layout.new" "$layout"
}

start_kafka() {
  local id name pid started java=() formats=() missing=()
  for ((id = 1; id <= brokers; id++)); do
    if pid=$(pid_of "kafka-$id" "$local_dir/kafka-$id.properties"); then
      say "kafka-$id: runs already (process $pid)"
    else
      missing+=("$id")
    fi
  done
  ((${#missing[@]})) || return 0
  for id in "${missing[@]}"; do
    need_port "kafka-$id" "$(broker_port "$id")" 'Set PUSHGRID_LOCAL_KAFKA_PORT to another one.'
    need_port "kafka-$id" $(($(broker_port "$id") + 1)) 'Set PUSHGRID_LOCAL_KAFKA_PORT to another one.'
  done
  find_kafka
  mapfile -d '' -t java < <(java_command)
  write_layout
  say "starts Kafka: ${missing[*]/#/kafka-}"
  started=$(now_ms)
  for id in "${missing[@]}"; do
    write_broker_configuration "$id"
    format_broker "$id" &
    formats+=($!)
  done
  for pid in "${formats[@]}"; do wait "$pid" || fail 'Kafka could not lay out its storage'; done
  for id in "${missing[@]}"; do
    name=kafka-$id
    launch "$name" "$local_dir/kafka" "${java[@]}" kafka.Kafka "$local_dir/$name.properties"
  done
  for id in "${missing[@]}"; do await_broker "$id" "$started"; done
  while ! has_coordinator "$kafka_port"; do
    (($(now_ms) - started < START_SECONDS * 1000)) || fail "Kafka forms no groups after $START_SECONDS s"
    sleep 0.1
  done
}

# Whether one of HOST:PORT,... is a Kafka.
kafka_answers() {
  local address list
  IFS=, read -r -a list <<<"$1"
  for address in "${list[@]}"; do
    address=${address// /}
    case ${PUSHGRID_KAFKA__SECURITY:-plaintext} in
      plaintext) count_brokers "${address%:*}" "${address##*:}" >/dev/null && return ;;
      # Behind TLS or a password: that something listens must do.
      *) accepts "${address%:*}" "${address##*:}" && return ;;
    esac
  done
  return 1
}

