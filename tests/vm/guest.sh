#!/bin/sh
# What Corten does on a machine with cgroup v2 only, from its first container to its last trace.
# Run by busybox inside the virtual machine of `cargo xtask vm-test`; powers it off at the end.
# `only=NAME` on the kernel's command line runs one section.

export PATH=/vm/bin:/bin
passed=0
failed=0

pass() { passed=$((passed + 1)); echo "ok      $1"; }
fail() { failed=$((failed + 1)); echo "FAILED  $1: $2"; }
# is NAME WANTED FOUND
is() { if [ "$2" = "$3" ]; then pass "$1"; else fail "$1" "wanted \`$2\`, found \`$3\`"; fi; }
# has NAME PART TEXT
has() { case "$3" in *"$2"*) pass "$1" ;; *) fail "$1" "no \`$2\` in \`$3\`" ;; esac; }
# between NAME LOWEST HIGHEST FOUND
between() {
    if [ "$4" -ge "$2" ] 2>/dev/null && [ "$4" -le "$3" ]; then pass "$1"
    else fail "$1" "wanted $2 to $3, found \`$4\`"; fi
}
# soon COMMAND...: until it succeeds, at most 15 seconds.
soon() {
    tries=0
    until "$@" >/dev/null 2>&1; do
        tries=$((tries + 1))
        [ "$tries" -lt 150 ] || return 1
        usleep 100000
    done
}
c() { timeout -s KILL 90 corten "$@"; }
ask() { c inspect --format "$2" "$1" 2>&1; }
state_is() { [ "$(ask "$1" '{{.State.Status}}')" = "$2" ]; }
clean() { c rm -f "$@" >/dev/null 2>&1; }

. /vm/lan.sh
. /vm/nfs.sh

machine() {
    busybox mkdir -p /proc /sys /dev /tmp /run /var /etc /root /usr
    busybox mount -t proc proc /proc
    /bin/busybox --install -s /bin
    mount -t sysfs sysfs /sys
    mount -t devtmpfs dev /dev
    mkdir -p /dev/pts
    mount -t devpts devpts /dev/pts
    mount -t cgroup2 -o nsdelegate cgroup2 /sys/fs/cgroup
    for module in /vm/modules/*.ko; do
        insmod "$module" || fail "module" "$module"
    done
    ip link set lo up
    ip link set eth0 up && ip addr add 10.0.2.15/24 dev eth0 && ip route add default via 10.0.2.2
    echo "kernel $(uname -r), up $(cut -d ' ' -f 1 /proc/uptime) s, controllers: $(cat /sys/fs/cgroup/cgroup.controllers)"
}

start_daemon() {
    cortend >>/var/cortend.log 2>&1 &
    daemon=$!
    soon corten version
}

# Kills a process and waits until nothing is left of it but an entry for its parent.
murder() {
    kill -9 "$1"
    soon sh -c "! grep -q '^State:[^Z]*\$' /proc/$1/status 2>/dev/null"
}

# layer NAME: packs /tmp/NAME as a layer of the image.
layer() {
    mkdir -p "/tmp/image/$1"
    tar -C "/tmp/$1" -cf "/tmp/image/$1/layer.tar" .
    sha256sum "/tmp/image/$1/layer.tar" | cut -d ' ' -f 1
}

# An image of three layers: a base, one that adds and removes, one that changes.
image() {
    for dir in bin etc tmp root; do mkdir -p "/tmp/base/$dir"; done
    cp /bin/busybox /tmp/base/bin/
    for applet in $(busybox --list); do
        [ "$applet" = busybox ] || ln -s busybox "/tmp/base/bin/$applet"
    done
    echo root:x:0:0:root:/root:/bin/sh >/tmp/base/etc/passwd
    echo first >/tmp/base/etc/changed
    echo first >/tmp/base/etc/removed
    mkdir -p /tmp/second/etc /tmp/third/etc
    : >/tmp/second/etc/.wh.removed
    echo second >/tmp/second/etc/added
    echo third >/tmp/third/etc/changed
    ids=
    for name in base second third; do
        ids="$ids${ids:+,}\"sha256:$(layer $name)\""
    done
    echo "{\"architecture\":\"amd64\",\"os\":\"linux\",\"config\":{\"Cmd\":[\"sh\"]},\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[$ids]}}" >/tmp/image/config.json
    echo '[{"Config":"config.json","RepoTags":["busybox:latest"],"Layers":["base/layer.tar","second/layer.tar","third/layer.tar"]}]' >/tmp/image/manifest.json
    tar -C /tmp/image -cf /tmp/image.tar manifest.json config.json base second third
    has "load an image" "Loaded image: busybox:latest" "$(c load -i /tmp/image.tar 2>&1)"
    rm -rf /tmp/base /tmp/second /tmp/third /tmp/image /tmp/image.tar
}

# What must be as before when no container is left; the names of links kept in reserve differ.
traces() {
    find /sys/fs/cgroup -type d | sort
    ip -o link | sed 's/^[0-9]*: //; s/[:@ ].*//; s/^cv.*/reserve/' | sort
    cut -d ' ' -f 2 /proc/mounts | sort
    grep -E '^nft_(masq|chain_nat) ' /proc/modules | cut -d ' ' -f 1,3
    # The name server comes with the first network of a user's, and goes with the daemon.
    ps -o args | grep -v 'corten-shim resolver' | grep -c '[c]orten-shim\|[c]orten.*supervisor'
}

section_info() {
    is "info: version of cgroups" 2 "$(c info --format '{{.CgroupVersion}}' 2>&1)"
    is "info: driver of cgroups" cgroupfs "$(c info --format '{{.CgroupDriver}}' 2>&1)"
}

section_run() {
    is "run prints" "hello" "$(c run --rm busybox echo hello 2>&1)"
    c run --rm busybox sh -c 'exit 42'
    is "run returns the exit code" 42 $?
    is "layers are stacked" "third second gone" \
        "$(c run --rm busybox sh -c 'echo $(cat /etc/changed /etc/added) $(test -e /etc/removed || echo gone)' 2>&1)"
    is "the root can be written" "x" "$(c run --rm busybox sh -c 'echo x >/etc/changed; cat /etc/changed' 2>&1)"
    is "the image is unchanged" "third" "$(c run --rm busybox cat /etc/changed 2>&1)"
    c run --rm --read-only busybox sh -c ': >/x' 2>/dev/null
    is "--read-only" 1 $?
    is "a terminal" "/dev/pts/0" "$(c run --rm -t busybox tty 2>&1 | tr -d '\r')"
    has "--init" "init" "$(c run --rm --init busybox sh -c 'tr "\\0" " " </proc/1/cmdline' 2>&1)"
    is "standard input" "typed" "$(echo typed | c run --rm -i busybox cat 2>&1)"
    is "--tmpfs" "tmpfs" "$(c run --rm --tmpfs /t busybox sh -c 'grep " /t " /proc/mounts | cut -d " " -f 1' 2>&1)"
    is "seccomp filters" 2 "$(c run --rm busybox sh -c 'grep ^Seccomp: /proc/self/status | cut -f 2' 2>&1)"
    has "a missing program" "not found" "$(c run --rm busybox nothing 2>&1)"
}

section_life() {
    c run -d --name live busybox sh -c 'trap "echo stopping; exit 7" TERM; trap "echo usr1" USR1; i=0; while :; do i=$((i+1)); usleep 20000; done' >/dev/null
    is "run -d" running "$(ask live '{{.State.Status}}')"
    is "exec" "inside 1" "$(c exec live sh -c 'echo inside $(grep -c sleep /proc/1/cmdline)' 2>&1)"
    c exec live sh -c 'exit 3'
    is "exec returns the exit code" 3 $?
    # The shell of the container and the grandchild are in the same group.
    is "exec joins the group" "0::/" "$(c exec live cat /proc/self/cgroup 2>&1)"
    id=$(ask live '{{.Id}}')
    group=/sys/fs/cgroup/corten/$id
    has "the group is there" "$(ask live '{{.State.Pid}}')" "$(cat "$group/cgroup.procs" 2>&1)"
    c kill -s USR1 live >/dev/null
    soon sh -c 'corten logs live 2>&1 | grep -q usr1'
    has "kill -s and logs" usr1 "$(c logs live 2>&1)"
    has "top" "usleep" "$(c top live 2>&1)"
    c pause live >/dev/null
    is "pause" paused "$(ask live '{{.State.Status}}')"
    has "the group is frozen" "frozen 1" "$(cat "$group/cgroup.events" 2>&1)"
    has "no exec while paused" "paused" "$(c exec live true 2>&1)"
    c unpause live >/dev/null
    is "unpause" running "$(ask live '{{.State.Status}}')"
    has "the group is thawed" "frozen 0" "$(cat "$group/cgroup.events" 2>&1)"
    c stop live >/dev/null
    is "stop" "exited 7" "$(ask live '{{.State.Status}} {{.State.ExitCode}}')"
    is "the group is removed" "" "$(ls -d "$group" 2>/dev/null)"
    c start live >/dev/null
    is "start again" running "$(ask live '{{.State.Status}}')"
    c kill live >/dev/null
    soon state_is live exited
    is "kill" "exited 137" "$(ask live '{{.State.Status}} {{.State.ExitCode}}')"
    c run -d --name deaf busybox sleep 1000 >/dev/null
    c stop -t 1 deaf >/dev/null
    is "stop of the deaf" "exited 137" "$(ask deaf '{{.State.Status}} {{.State.ExitCode}}')"
    c run -d --name still busybox sleep 1000 >/dev/null
    c pause still >/dev/null
    c rm -f live deaf still >/dev/null 2>&1
    is "rm -f, of a paused one too" "" "$(c ps -aq 2>&1)"
}

# What an archive made itself is filled below the overlay, whose rules differ between kernels.
section_copy() {
    mkdir -p /tmp/tree/a/b && echo one >/tmp/tree/a/b/f && ln /tmp/tree/a/b/f /tmp/tree/a/h && ln -s b /tmp/tree/a/l
    chmod 700 /tmp/tree/a
    c create --name filled busybox sh -c 'cat /root/tree/a/l/f /root/tree/a/h; stat -c "%a %h" /root/tree/a /root/tree/a/h' >/dev/null
    c cp -q /tmp/tree filled:/root/tree
    is "cp into a container at rest" 0 $?
    tar -C /tmp -cf - tree | c cp -q - filled:/root
    is "an archive over what is there" 0 $?
    is "what was copied is there" "one one 700 3 644 2" "$(c start -a filled 2>&1 | xargs echo)"
    is "and in diff" "C /root,A /root/tree,A /root/tree/a,A /root/tree/a/b,A /root/tree/a/b/f,A /root/tree/a/h,A /root/tree/a/l" \
        "$(c diff filled 2>&1 | sort -k 2 | xargs echo | sed 's/ \([ACD]\) /,\1 /g')"
    is "cp out of it" "one" "$(c cp filled:/root/tree/a/b/f - 2>&1 | tar -xOf - 2>&1)"
    clean filled
    # A host whose root is shared, as systemd makes it.
    mount --make-rshared /
    c run -d --name host -v /:/host busybox sleep 100 >/dev/null
    is "a bind of the root follows the host" rslave "$(ask host '{{(index .Mounts 0).Propagation}}')"
    mkdir -p /tmp/late && mount -t tmpfs late /tmp/late && touch /tmp/late/seen
    is "what is mounted later is seen" seen "$(c exec host ls /host/tmp/late 2>&1)"
    umount /tmp/late
    is "and goes" "" "$(c exec host ls /host/tmp/late 2>&1)"
    mount --make-rprivate /
    clean host
    rm -rf /tmp/tree /tmp/late
}

section_limits() {
    is "-m is seen inside" 33554432 "$(c run --rm -m 32m busybox cat /sys/fs/cgroup/memory.max 2>&1)"
    is "-m limits swap likewise" 33554432 "$(c run --rm -m 32m busybox cat /sys/fs/cgroup/memory.swap.max 2>&1)"
    is "--memory-reservation" 16777216 "$(c run --rm -m 32m --memory-reservation 16m busybox cat /sys/fs/cgroup/memory.low 2>&1)"
    is "--cpus" "50000 100000" "$(c run --rm --cpus 0.5 busybox cat /sys/fs/cgroup/cpu.max 2>&1)"
    between "-c" 15 65 "$(c run --rm -c 512 busybox cat /sys/fs/cgroup/cpu.weight 2>&1)"
    is "--cpuset-cpus" 1 "$(c run --rm --cpuset-cpus 1 busybox cat /sys/fs/cgroup/cpuset.cpus 2>&1)"
    between "--blkio-weight" 100 10000 "$(c run --rm --blkio-weight 500 busybox sh -c 'cat /sys/fs/cgroup/io.weight /sys/fs/cgroup/io.bfq.weight 2>/dev/null | head -n 1 | cut -d " " -f 2' 2>&1)"
    has "--memory-swappiness is discarded" "discarded" "$(c run --rm --memory-swappiness 10 busybox true 2>&1)"
    c run -d --name update -m 32m --pids-limit 50 busybox sleep 1000 >/dev/null
    c update -m 48m --memory-swap 96m --pids-limit 60 --cpus 0.25 update >/dev/null
    is "update" "50331648 50331648 60 25000 100000" "$(echo $(c exec update sh -c 'cd /sys/fs/cgroup; cat memory.max memory.swap.max pids.max cpu.max' 2>&1))"
    clean update
    is "--pids-limit" 20 "$(c run --rm --pids-limit 20 busybox cat /sys/fs/cgroup/pids.max 2>&1)"
    has "forks end at the limit" "fork" "$(c run --rm --pids-limit 20 busybox sh -c 'for i in $(seq 50); do sleep 5 & done; echo reached' 2>&1)"
    c run --name oom -m 32m busybox sh -c 'x=0123456789abcdef; while :; do x=$x$x; done' >/dev/null 2>&1
    is "out of memory: exit code" 137 $?
    is "out of memory: told" "true 137" "$(ask oom '{{.State.OOMKilled}} {{.State.ExitCode}}')"
    is "out of memory: a child" "child 137" "$(c run --name child -m 32m busybox sh -c 'tail /dev/zero; echo child $?' 2>/dev/null)"
    is "out of memory: a child is told" "true 0" "$(ask child '{{.State.OOMKilled}} {{.State.ExitCode}}')"
    is "enough memory: not told" "false" "$(c run --name fine -m 32m busybox true; ask fine '{{.State.OOMKilled}}')"
    clean oom child fine
    c run -d --name bomb --pids-limit 40 busybox sh -c 'sh -c "b() { b | b & }; b"; exec sleep 1000' >/dev/null 2>&1
    sleep 2
    between "a fork bomb is held" 10 40 "$(cat /sys/fs/cgroup/corten/*/pids.current)"
    c rm -f bomb >/dev/null 2>&1
    is "a fork bomb is removed" 0 "$(cat /sys/fs/cgroup/corten/*/pids.current 2>/dev/null | wc -l)"
}

section_view() {
    is "a cgroup namespace" "0::/" "$(c run --rm busybox cat /proc/self/cgroup 2>&1)"
    is "a single hierarchy" "cgroup2" "$(c run --rm busybox sh -c 'grep " /sys/fs/cgroup " /proc/mounts | cut -d " " -f 3' 2>&1)"
    has "it cannot be written" "Read-only" "$(c run --rm busybox mkdir /sys/fs/cgroup/x 2>&1)"
    is "its own group only" "0" "$(c run --rm busybox sh -c 'ls -d /sys/fs/cgroup/*/ 2>/dev/null | wc -l' 2>&1)"
    is "--privileged may write" "made" "$(c run --rm --privileged busybox sh -c 'mkdir /sys/fs/cgroup/x && rmdir /sys/fs/cgroup/x && echo made' 2>&1)"
    is "--privileged has a namespace too" "0::/" "$(c run --rm --privileged busybox cat /proc/self/cgroup 2>&1)"
    has "--cgroupns host" "/corten/" "$(c run --rm --cgroupns host busybox cat /proc/self/cgroup 2>&1)"
    is "--cgroupns host: limits" "33554432" "$(c run --rm -m 32m --cgroupns host busybox sh -c 'cat /sys/fs/cgroup$(cut -d : -f 3 /proc/self/cgroup)/memory.max || cat /sys/fs/cgroup/memory.max' 2>/dev/null)"
}

section_devices() {
    open='mknod /n c 1 11 && echo x >/n && echo opened'
    has "the kernel's log: refused" "not permitted" "$(c run --rm busybox sh -c "$open" 2>&1)"
    is "the kernel's log: --privileged" "opened" "$(c run --rm --privileged busybox sh -c "$open" 2>&1)"
    is "the kernel's log: --device" "opened" "$(c run --rm --device /dev/kmsg busybox sh -c 'echo x >/dev/kmsg && echo opened' 2>&1)"
    has "the kernel's log: --device r" "not permitted" "$(c run --rm --device /dev/kmsg:/dev/kmsg:r busybox sh -c 'echo x >/dev/kmsg && echo opened' 2>&1)"
    has "a terminal of the host: refused" "not permitted" "$(c run --rm busybox sh -c 'mknod /n c 4 64 && echo x >/n' 2>&1)"
    has "a block device: refused" "not permitted" "$(c run --rm busybox sh -c 'mknod /n b 8 0 && cat /n' 2>&1)"
    is "/dev/null made by hand" "opened" "$(c run --rm busybox sh -c 'mknod /n c 1 3 && echo x >/n && echo opened' 2>&1)"
    c run -d --name dev busybox sleep 1000 >/dev/null
    has "refused to an exec too" "not permitted" "$(c exec dev sh -c "$open" 2>&1)"
    clean dev
}

section_stats() {
    c run -d --name used -m 64m busybox sh -c 'dd if=/dev/zero of=/tmp/x bs=1M count=8 2>/dev/null; sleep 1000 & sleep 1000 & wait' >/dev/null
    soon sh -c 'corten exec used pidof sleep | grep -q " "'
    line=$(c stats --no-stream --format '{{.MemUsage}}|{{.PIDs}}|{{.CPUPerc}}|{{.NetIO}}' used 2>&1)
    has "stats: limit" "/ 64MiB" "$line"
    has "stats: tasks" "|3|" "$line"
    has "stats: percentage" "%|" "$line"
    has "stats: memory is not nothing" "iB / " "$(echo "$line" | grep -v '^0B')"
    used=$(c exec used cat /sys/fs/cgroup/memory.current)
    between "memory.current counts the file in memory" 8000000 64000000 "$used"
    clean used
}

section_network() {
    is "--network none" "lo" "$(c run --rm --network none busybox ls /sys/class/net 2>&1)"
    c run -d --name peer busybox sleep 1000 >/dev/null
    address=$(ask peer '{{.NetworkSettings.IPAddress}}')
    [ -n "$address" ] || address=$(ask peer '{{.NetworkSettings.Networks.bridge.IPAddress}}')
    has "from one container to another" " 0% packet loss" "$(c run --rm busybox ping -c 2 -W 5 "$address" 2>&1)"
    has "from the host to a container" " 0% packet loss" "$(ping -c 2 -W 5 "$address" 2>&1)"
    # The emulated router answers nobody but the machine itself.
    has "out through the masquerade" " 0% packet loss" "$(c run --rm busybox ping -c 2 -W 5 10.0.2.2 2>&1)"
    is "--network host" "eth0" "$(c run --rm --network host busybox ls /sys/class/net 2>&1 | grep eth0)"
    clean peer
}

section_crash() {
    c run -d --name count -m 32m busybox sh -c 'i=0; while :; do i=$((i+1)); echo $i; usleep 20000; done' >/dev/null
    c run -d --name brief busybox sh -c 'sleep 3; exit 23' >/dev/null
    pid=$(ask count '{{.State.Pid}}')
    murder "$daemon"
    sleep 4
    start_daemon
    is "daemon killed: the container runs" "running $pid" "$(ask count '{{.State.Status}} {{.State.Pid}}')"
    is "daemon killed: an exit meanwhile is known" "exited 23" "$(ask brief '{{.State.Status}} {{.State.ExitCode}}')"
    is "daemon killed: exec" "33554432" "$(c exec count cat /sys/fs/cgroup/memory.max 2>&1)"
    c logs count >/tmp/log 2>&1
    seq 1 "$(wc -l </tmp/log)" >/tmp/wanted
    cmp -s /tmp/log /tmp/wanted
    is "daemon killed: no line is lost" 0 $?
    between "daemon killed: it counted on" 150 100000 "$(wc -l </tmp/log)"
    supervisor=$(grep ^PPid: "/proc/$pid/status" | cut -f 2)
    is "the supervisor is the parent" "1" "$(ps -o pid,args | grep -c "^ *$supervisor .*[c]orten")"
    kill -9 "$supervisor"
    soon state_is count exited
    is "supervisor killed: told" "exited 137" "$(ask count '{{.State.Status}} {{.State.ExitCode}}')"
    is "supervisor killed: the other container is untouched" "exited 23" "$(ask brief '{{.State.Status}} {{.State.ExitCode}}')"
    is "supervisor killed: the group is removed" "" "$(ls -d "/sys/fs/cgroup/corten/$(ask count '{{.Id}}')" 2>/dev/null)"
    c start count >/dev/null
    is "supervisor killed: starts again" running "$(ask count '{{.State.Status}}')"
    clean count brief
}

section_many() {
    for i in 1 2 3 4 5 6; do
        (c run --rm --name "m$i" busybox sh -c "echo $i" >"/tmp/m$i" 2>&1) &
        jobs="$jobs $!"
    done
    wait $jobs
    is "six at the same time" "1 2 3 4 5 6" "$(echo $(cat /tmp/m1 /tmp/m2 /tmp/m3 /tmp/m4 /tmp/m5 /tmp/m6))"
}

# is_full NAME TEXT: XFS says that there is no space where ext4 names the quota.
is_full() {
    case "$2" in
    *"No space left on device"* | *"Disk quota exceeded"*) pass "$1" ;;
    *) fail "$1" "it is not full: \`$2\`" ;;
    esac
}

# disk NAME TYPE DEVICE OPTION: bounds on a file system that keeps them itself.
disk() {
    mkdir -p "/disk/$1"
    if ! mount -t "$2" -o "$4" "$3" "/disk/$1"; then
        fail "$1: mounted" "$(dmesg | tail -n 3)"
        return
    fi
    socket=unix:///run/$1.sock
    cortend -H "$socket" --data-root "/disk/$1/data" --exec-root "/run/$1" --pidfile "/run/$1.pid" >>/var/cortend.log 2>&1 &
    own=$!
    d() { timeout -s KILL 90 corten -H "$socket" "$@"; }
    soon d version
    c save busybox | d load >/dev/null
    fill='dd if=/dev/zero of=/f bs=1M count=40 2>&1; stat -c %s /f'
    full=$(d run --rm --storage-opt size=16m busybox sh -c "$fill" 2>&1)
    is_full "$1: --storage-opt size" "$full"
    between "$1: so much fits" 12000000 16777216 "$(echo "$full" | tail -n 1)"
    is "$1: nothing is mounted for it" 0 "$(grep -c '^/dev/loop' /proc/mounts)"
    is "$1: others are not bounded" 41943040 "$(d run --rm busybox sh -c "$fill" 2>&1 | tail -n 1)"
    d volume create -o size=16m bounded >/dev/null
    fill='dd if=/dev/zero of=/v/f bs=1M count=40 2>&1; stat -c %s /v/f'
    full=$(d run --rm -v bounded:/v busybox sh -c "$fill" 2>&1)
    is_full "$1: volume with a size" "$full"
    between "$1: so much fits into it" 12000000 16777216 "$(echo "$full" | tail -n 1)"
    is "$1: room again" "again" "$(d run --rm -v bounded:/v busybox sh -c 'rm /v/f; echo again >/v/g && cat /v/g' 2>&1)"
    mkdir "/disk/$1/own"
    chown 1000:1001 "/disk/$1/own"
    is "$1: the owner is the container's user" "5:6" "$(d run --rm -u 5:6 -v "/disk/$1/own:/o:matchuser" busybox sh -c 'echo x >/o/f; stat -c %u:%g /o/f' 2>&1)"
    is "$1: what it writes is the owner's" "1000:1001" "$(stat -c %u:%g "/disk/$1/own/f")"
    kill -9 $own
    soon sh -c "! grep -q '^State:[^Z]*\$' /proc/$own/status 2>/dev/null"
    cortend -H "$socket" --data-root "/disk/$1/data" --exec-root "/run/$1" --pidfile "/run/$1.pid" >>/var/cortend.log 2>&1 &
    own=$!
    soon d version
    full=$(d run --rm -v bounded:/v busybox sh -c "$fill" 2>&1)
    is_full "$1: the bound survives the daemon" "$full"
    d volume rm bounded >/dev/null
    is "$1: the volume can be removed" "" "$(d volume ls -q 2>&1)"
    # The number of a removed one is free for others, without its bound.
    d volume create -o size=32m bounded >/dev/null
    is "$1: another bound" 29360128 "$(d run --rm -v bounded:/v busybox sh -c 'dd if=/dev/zero of=/v/f bs=1M count=28 2>/dev/null; stat -c %s /v/f' 2>&1)"
    d volume rm bounded >/dev/null
    kill $own
    wait $own
    umount "/disk/$1"
    is "$1: nothing holds the disk" 0 $?
}

section_disks() {
    [ -b /dev/vda ] || { fail "disks" "the machine has none"; return; }
    disk ext4 ext4 /dev/vda prjquota
    disk xfs xfs /dev/vdb pquota
}

main() {
    machine
    empty=$(traces)
    if ! start_daemon; then
        fail "the daemon starts" "$(tail -n 20 /var/cortend.log)"
        echo "vm-test: $passed passed, $failed failed"
        return
    fi
    image
    c run --rm busybox true
    before=$(traces)
    only=$(sed -n 's/.*only=\([a-z]*\).*/\1/p' /proc/cmdline)
    for section in ${only:-info run life copy limits view devices stats network macvlan ipvlan crash many disks nfs}; do
        echo "== $section (at $(cut -d . -f 1 /proc/uptime) s)"
        "section_$section"
    done
    echo "== traces (at $(cut -d . -f 1 /proc/uptime) s)"
    is "no container is left" "" "$(c ps -aq 2>&1)"
    traces_are_as_before() { [ "$(traces)" = "$before" ]; }
    soon traces_are_as_before
    is "no group, link, mount, rule or process is left" "$before" "$(traces)"
    is "no panic" "" "$(grep -i panicked /var/cortend.log)"
    kill "$daemon"
    wait "$daemon"
    is "the daemon ends well" 0 $?
    all_gone() { [ "$(traces)" = "$empty" ]; }
    soon all_gone
    is "nothing is left of it" "$empty" "$(traces)"
    # The relay and the resolver see that it has gone, and go.
    ours() { ps -o args | grep '[c]orten'; }
    nobody_runs() { [ -z "$(ours)" ]; }
    soon nobody_runs
    is "nothing runs after it" "" "$(ours)"
    [ "$failed" = 0 ] || { echo "== the daemon's log"; grep -v ' INFO ' /var/cortend.log | tail -n 40; echo "== the kernel's"; dmesg | tail -n 10; }
    echo "vm-test: $passed passed, $failed failed"
}

main 2>&1
poweroff -f
