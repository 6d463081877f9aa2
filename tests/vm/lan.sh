# Networks of the host's own interfaces: macvlan and ipvlan, with another host on the cable. Read by
# guest.sh.
#
#   host                               the other host (a namespace)
#   up0 ── up0.10, up0.20, … ════════ a port of br0, which reflects what came from it on demand
#                                     br0 10.7.0.1 fd07::1, br0.10 10.8.0.1, br0.30 10.9.0.1
#                                     lo  10.99.0.1, behind the other host as a router

# Links kept in reserve for bridges come and go.
links() { ip -o link | sed 's/^[0-9]*: //; s/[:@ ].*//' | grep -v ^cv | sort; }

# Plugs the cable in.
lan() {
    links_before=$(links)
    echo nameserver 127.0.0.53 >/etc/resolv.conf
    rm -f /tmp/far
    unshare -n -m sh -c 'mount -t sysfs sysfs /sys; : >/tmp/far; exec sleep 100000' &
    far_pid=$!
    soon test -e /tmp/far
    ip link add name up0 type veth
    port=$(ip -o link | sed -n 's/^[0-9]*: \(veth[0-9]*\)@up0.*/\1/p')
    ip link set "$port" netns "$far_pid"
    # What is in the host is none of the other's business: it has no addresses there.
    echo 1 >/proc/sys/net/ipv6/conf/up0/disable_ipv6
    ip link set up0 up
    far ip link set lo up
    far ip addr add 10.99.0.1/32 dev lo
    far ip link add name br0 type bridge
    far ip link set "$port" master br0
    far ip link set "$port" up
    far ip link set br0 up
    far ip addr add 10.7.0.1/24 dev br0
    far sh -c 'echo 0 >/proc/sys/net/ipv6/conf/br0/accept_dad'
    far ip -6 addr add fd07::1/64 dev br0
    for vlan in 10:10.8.0.1 30:10.9.0.1; do
        far ip link add link br0 name "br0.${vlan%%:*}" type vlan id "${vlan%%:*}"
        far ip link set "br0.${vlan%%:*}" up
        far ip addr add "${vlan#*:}/24" dev "br0.${vlan%%:*}"
    done
}

# Pulls it out: nothing of ours may be left on this side.
unlan() {
    ip link delete up0
    kill "$far_pid"
    wait "$far_pid" 2>/dev/null
    rm /etc/resolv.conf
    is "$1: no link is left" "$links_before" "$(links)"
    is "$1: no network is left" "bridge host none" "$(echo $(c network ls --format '{{.Name}}' 2>&1 | sort))"
}

far() { nsenter -t "$far_pid" -n -m "$@"; }
# net NAME ARGUMENTS...: makes a network.
net() {
    netname=$1
    shift
    made=$(c network create "$@" "$netname" 2>&1) || fail "network $netname" "$made"
}
no_net() { made=$(c network rm "$@" 2>&1) || fail "network rm $*" "$made"; }
# refused NAME TEXT ARGUMENTS...: a network that cannot be made, in Docker's words.
refused() {
    what=$1
    text=$2
    shift 2
    is "$what" "Error response from daemon: $text" "$(c network create "$@" never 2>&1)"
}
# box NAME NETWORK ARGUMENTS...: a container that stays.
box() {
    boxname=$1
    boxnet=$2
    shift 2
    made=$(c run -d --name "$boxname" --network "$boxnet" "$@" busybox sleep 100000 2>&1) || fail "container $boxname" "$made"
}
# reach NAME CONTAINER ADDRESS: the first packets may come before an address is known.
reach() {
    c exec "$2" ping -c 1 -W 2 "$3" >/dev/null 2>&1
    has "$1" " 0% packet loss" "$(c exec "$2" ping -A -c 2 -W 5 "$3" 2>&1)"
}
# apart NAME CONTAINER ADDRESS
apart() { has "$1" " 100% packet loss" "$(c exec "$2" ping -c 1 -W 2 "$3" 2>&1)"; }
# nowhere NAME CONTAINER ADDRESS
nowhere() { has "$1" "Network is unreachable" "$(c exec "$2" ping -c 1 -W 1 "$3" 2>&1)"; }
# address CONTAINER NETWORK
address() { ask "$1" "{{(index .NetworkSettings.Networks \"$2\").IPAddress}}"; }
there() { if [ -e "/sys/class/net/$1" ]; then echo there; else echo gone; fi; }
defaults() { c exec "$1" ip "$2" route 2>&1 | grep ^default | tr -s ' ' | sed 's/ $//'; }
# Questions to the host's name server, which does not answer.
asked() { awk '/^Udp: [0-9]/ { print $3 }' /proc/net/snmp; }
reflect() { far sh -c "echo $1 >/sys/class/net/$port/brport/hairpin_mode"; }

section_macvlan() {
    lan
    macvlan_flat
    macvlan_modes
    macvlan_subinterfaces
    macvlan_crash
    macvlan_internal
    macvlan_subnets
    macvlan_refusals
    unlan macvlan
}

macvlan_flat() {
    net flat -d macvlan --subnet 10.7.0.0/24 --gateway 10.7.0.1 --ipv6 --subnet fd07::/64 --gateway fd07::1 -o parent=up0
    is "macvlan: inspect" 'macvlan local false {"parent":"up0"}' \
        "$(c network inspect --format '{{.Driver}} {{.Scope}} {{.Internal}} {{json .Options}}' flat 2>&1)"
    box one flat --ip 10.7.0.11 --ip6 fd07::11
    box two flat -p 8080:80
    reach "macvlan: the other host" one 10.7.0.1
    reach "macvlan: the other host, IPv6" one fd07::1
    has "macvlan: from the other host" " 0% packet loss" "$(far ping -A -c 2 -W 5 10.7.0.11 2>&1)"
    reach "macvlan: another container" one "$(address two flat)"
    reach "macvlan: another container by its name" two one
    reach "macvlan: through the gateway" one 10.99.0.1
    before_name=$(asked)
    c exec one nslookup -type=a example.test >/dev/null 2>&1
    between "macvlan: names that are not known are asked for" $((before_name + 1)) $((before_name + 100)) "$(asked)"
    is "macvlan: default route" "default via 10.7.0.1 dev eth0" "$(defaults one -4)"
    has "macvlan: default route, IPv6" "default via fd07::1 dev eth0" "$(defaults one -6)"
    is "macvlan: its Ethernet address is what inspect says" "$(c exec one cat /sys/class/net/eth0/address 2>&1)" \
        "$(ask one '{{.NetworkSettings.Networks.flat.MacAddress}}')"
    is "macvlan: its Ethernet address is its own" "$(c exec one cat /sys/class/net/eth0/address 2>&1)" \
        "$(far sed -n 's/^10\.7\.0\.11 .*0x2 *\([0-9a-f:]*\) .*/\1/p' /proc/net/arp)"
    is "macvlan: ports are not published" "" "$(c port two 2>&1)"
    # Nothing of the host is in the way, and the host itself is apart.
    has "macvlan: the host does not reach it" " 100% packet loss" "$(ip addr add 10.7.0.254/24 dev up0; ping -c 1 -W 1 10.7.0.11 2>&1; ip addr del 10.7.0.254/24 dev up0)"
    c network disconnect flat one >/dev/null
    is "macvlan: disconnected" "lo" "$(c exec one ls /sys/class/net 2>&1)"
    c network connect --ip 10.7.0.12 flat one >/dev/null
    reach "macvlan: connected again" one 10.7.0.1
    c restart -t 0 one >/dev/null
    reach "macvlan: restarted" one 10.7.0.1
    is "macvlan: the address is kept" 10.7.0.12 "$(address one flat)"
    has "macvlan: a network in use stays" "has active endpoints" "$(c network rm flat 2>&1)"
    clean one two
    ip link set up0 mtu 1400
    is "macvlan: the parent's MTU" 1400 "$(c run --rm --network flat busybox cat /sys/class/net/eth0/mtu 2>&1)"
    ip link set up0 mtu 1500
    has "macvlan: the interface's name" "foobar" \
        "$(c run --rm --network name=flat,driver-opt=com.docker.network.endpoint.ifname=foobar busybox ls /sys/class/net 2>&1)"
    is "macvlan: an Ethernet address of the user's" 02:00:00:00:00:99 \
        "$(c run --rm --network flat --mac-address 02:00:00:00:00:99 busybox cat /sys/class/net/eth0/address 2>&1)"
    ip link set up0 down
    is "macvlan: starts with the parent down" started "$(c run --rm --network flat busybox echo started 2>&1)"
    ip link set up0 up
    no_net flat
    is "macvlan: the parent stays" there "$(there up0)"
}

macvlan_modes() {
    for mode in bridge private vepa; do
        net lan -d macvlan --subnet 10.7.0.0/24 --gateway 10.7.0.1 -o parent=up0 -o macvlan_mode=$mode
        is "macvlan $mode: inspect" "{\"macvlan_mode\":\"$mode\",\"parent\":\"up0\"}" \
            "$(c network inspect --format '{{json .Options}}' lan 2>&1)"
        box one lan --ip 10.7.0.11
        box two lan --ip 10.7.0.12
        reach "macvlan $mode: the other host" one 10.7.0.1
        case $mode in
        bridge) reach "macvlan bridge: each other" one 10.7.0.12 ;;
        *) apart "macvlan $mode: not each other" one 10.7.0.12 ;;
        esac
        reflect 1
        case $mode in
        private) apart "macvlan private: not by a switch that reflects" one 10.7.0.12 ;;
        *) reach "macvlan $mode: each other by a switch that reflects" one 10.7.0.12 ;;
        esac
        reflect 0
        clean one two
        no_net lan
    done
    net lan -d macvlan --subnet 10.7.0.0/24 --gateway 10.7.0.1 -o parent=up0 -o macvlan_mode=passthru
    box one lan --ip 10.7.0.11
    reach "macvlan passthru: the other host" one 10.7.0.1
    is "macvlan passthru: the parent has the container's address" "$(c exec one cat /sys/class/net/eth0/address 2>&1)" "$(cat /sys/class/net/up0/address)"
    has "macvlan passthru: one container only" "failed to create the macvlan port: " "$(c run --rm --network lan busybox true 2>&1)"
    is "macvlan passthru: alone on its parent" \
        "Error response from daemon: macvlan network $(c network inspect --format '{{.Id}}' lan) is already using parent interface up0 in mode passthru" \
        "$(c network create -d macvlan -o parent=up0 never 2>&1)"
    clean one
    no_net lan
    net lan -d macvlan --subnet 10.7.0.0/24 -o parent=up0
    is "macvlan passthru: not on another's parent" \
        "Error response from daemon: cannot use mode passthru, macvlan network $(c network inspect --format '{{.Id}}' lan) is already using parent interface up0" \
        "$(c network create -d macvlan -o parent=up0 -o macvlan_mode=passthru never 2>&1)"
    no_net lan
}

macvlan_subinterfaces() {
    is "VLAN: not there before" gone "$(there up0.10)"
    net v10 -d macvlan --subnet 10.8.0.0/24 --gateway 10.8.0.1 -o parent=up0.10
    has "VLAN: made with the first network" "VID: 10" "$(cat /proc/net/vlan/up0.10 2>&1)"
    has "VLAN: on the interface that its name says" "Device: up0" "$(cat /proc/net/vlan/up0.10 2>&1)"
    box one v10
    rx=$(far cat /sys/class/net/br0.10/statistics/rx_packets)
    reach "VLAN: the other host" one 10.8.0.1
    between "VLAN: packets are tagged" $((rx + 2)) $((rx + 1000)) "$(far cat /sys/class/net/br0.10/statistics/rx_packets)"
    reach "VLAN: through the gateway" one 10.99.0.1
    # The other host has this address in VLAN 30.
    net v20 -d macvlan --subnet 10.9.0.0/24 --gateway 10.9.0.1 -o parent=up0.20
    box two v20
    apart "VLAN: another one is not reached" two 10.9.0.1
    net again -d macvlan --subnet 10.8.1.0/24 -o parent=up0.10
    clean one two
    no_net v10 v20
    is "VLAN: removed with its last network" gone "$(there up0.20)"
    is "VLAN: kept for another network" there "$(there up0.10)"
    no_net again
    is "VLAN: removed with the last of two" gone "$(there up0.10)"
    ip link add link up0 name up0.10 type vlan id 10
    ip link set up0.10 up
    net v10 -d macvlan --subnet 10.8.0.0/24 --gateway 10.8.0.1 -o parent=up0.10
    box one v10
    reach "VLAN of the user: the other host" one 10.8.0.1
    clean one
    no_net v10
    is "VLAN of the user: stays" there "$(there up0.10)"
    ip link delete up0.10
    # One for both drivers is taken away from neither.
    net mac -d macvlan --subnet 10.8.0.0/24 -o parent=up0.10
    net ip -d ipvlan --subnet 10.8.1.0/24 -o parent=up0.10
    box one ip
    no_net mac
    is "VLAN: kept for the other driver" "there" "$(there up0.10)"
    is "VLAN: the other driver's container keeps its interface" "eth0 lo" "$(echo $(c exec one ls /sys/class/net 2>&1))"
    clean one
    no_net ip
    is "VLAN: removed with the other driver's network" gone "$(there up0.10)"
    ip link set up0 down
    has "VLAN: not on an interface that is down" "daemon: failed to create up0.10 vlan link: " "$(c network create -d macvlan -o parent=up0.10 never 2>&1)"
    is "VLAN: nothing is left of that" gone "$(there up0.10)"
    ip link set up0 up
}

macvlan_crash() {
    net v10 -d macvlan --subnet 10.8.0.0/24 --gateway 10.8.0.1 -o parent=up0.10
    net flat -d macvlan --subnet 10.7.0.0/24 --gateway 10.7.0.1 -o parent=up0
    net dummy -d macvlan --subnet 10.6.0.0/24
    box one v10 --ip 10.8.0.11
    pid=$(ask one '{{.State.Pid}}')
    murder "$daemon"
    has "daemon killed: the container reaches the other host" " 0% packet loss" \
        "$(nsenter -t "$pid" -n ping -A -c 2 -W 5 10.8.0.1 2>&1)"
    # As after a start of the machine.
    ip link delete "$(ip -o link | sed -n 's/^[0-9]*: \(dm-[0-9a-f]*\).*/\1/p')"
    start_daemon
    reach "daemon killed: afterwards, too" one 10.8.0.1
    is "daemon killed: the address is known" 10.8.0.11 "$(address one v10)"
    box two v10
    is "daemon killed: no address twice" 10.8.0.2 "$(address two v10)"
    reach "daemon killed: a new container" two 10.8.0.11
    is "daemon killed: options" '{"parent":"up0.10"}' "$(c network inspect --format '{{json .Options}}' v10 2>&1)"
    box three dummy
    box four dummy
    reach "daemon killed: a parent that went is there again" three "$(address four dummy)"
    clean one two three four
    murder "$daemon"
    ip link delete up0.10
    start_daemon
    is "daemon killed: a VLAN that went is there again" there "$(there up0.10)"
    no_net v10 flat dummy
    is "daemon killed: the VLAN is known to be ours" gone "$(there up0.10)"
    is "daemon killed: the parent is known not to be ours" there "$(there up0)"
}

# internal DRIVER PREFIX ARGUMENTS...: networks that lead nowhere.
internal() {
    driver=$1
    prefix=$2
    shift 2
    for flag in "" --internal; do
        net hidden -d "$driver" $flag --subnet 10.6.0.0/24 "$@"
        parent=$prefix$(c network inspect --format '{{.Id}}' hidden | cut -c 1-12)
        is "$driver${*:+ $*}${flag:+ $flag} without a parent: a link is made" there "$(there "$parent")"
        box one hidden
        box two hidden
        is "$driver${*:+ $*}${flag:+ $flag} without a parent: no address for a gateway" "10.6.0.1 10.6.0.2" "$(echo $(address one hidden) $(address two hidden))"
        reach "$driver${*:+ $*}${flag:+ $flag} without a parent: each other" one 10.6.0.2
        reach "$driver${*:+ $*}${flag:+ $flag} without a parent: each other by name" one two
        nowhere "$driver${*:+ $*}${flag:+ $flag} without a parent: no way out" one 10.7.0.1
        before_name=$(asked)
        c exec one nslookup -type=a example.test >/dev/null 2>&1
        is "$driver${*:+ $*}${flag:+ $flag} without a parent: nobody is asked for names" "$before_name" "$(asked)"
        is "$driver${*:+ $*}${flag:+ $flag} without a parent: no gateway" "" "$(ask one '{{.NetworkSettings.Networks.hidden.Gateway}}')"
        clean one two
        no_net hidden
        is "$driver${*:+ $*}${flag:+ $flag} without a parent: the link is removed" gone "$(there "$parent")"
    done
    net hidden -d "$driver" --internal --subnet 10.7.0.0/24 -o parent=up0 "$@"
    box one hidden --ip 10.7.0.11
    nowhere "$driver${*:+ $*} --internal with a parent: no way out" one 10.99.0.1
    is "$driver${*:+ $*} --internal with a parent: no gateway" "" "$(defaults one -4)"
    clean one
    no_net hidden
    # Two addresses for two containers: none is set aside.
    net pair -d "$driver" --subnet 10.6.0.0/31 "$@"
    box one pair
    box two pair
    reach "$driver${*:+ $*}: a point-to-point network" one two
    clean one two
    no_net pair
}

macvlan_internal() { internal macvlan dm-; }

# subnets DRIVER: each of several subnets has its gateway.
subnets() {
    net wide -d "$1" -o parent=up0 --ipv6 --subnet 10.3.0.0/24 --subnet 10.4.0.0/24 --gateway 10.4.0.254 \
        --subnet fd03::/64 --subnet fd04::/64 --gateway fd04::254
    box one wide --ip 10.3.0.20 --ip6 fd03::20
    box two wide --ip 10.3.0.21 --ip6 fd03::21
    box three wide --ip 10.4.0.20 --ip6 fd04::20
    box four wide --ip 10.4.0.21 --ip6 fd04::21
    gateways='{{.NetworkSettings.Networks.wide.Gateway}} {{.NetworkSettings.Networks.wide.IPv6Gateway}}'
    is "$1: gateways of the first subnets" "10.3.0.1 fd03::1" "$(ask one "$gateways")"
    is "$1: gateways of the second subnets" "10.4.0.254 fd04::254" "$(ask three "$gateways")"
    is "$1: default route of the first subnet" "default via 10.3.0.1 dev eth0" "$(defaults one -4)"
    is "$1: default route of the second subnet" "default via 10.4.0.254 dev eth0" "$(defaults three -4)"
    has "$1: default route of the second subnet, IPv6" "default via fd04::254 dev eth0" "$(defaults three -6)"
    reach "$1: in the first subnet" one 10.3.0.21
    reach "$1: in the first subnet, IPv6" one fd03::21
    reach "$1: in the second subnet" three 10.4.0.21
    reach "$1: in the second subnet, IPv6" three fd04::21
    clean one two three four
    no_net wide
}

macvlan_subnets() { subnets macvlan; }

# parents DRIVER: what can be no parent.
parents() {
    refused "$1: the loopback" "loopback interface is not a valid $1 parent link" -d "$1" -o parent=lo
    refused "$1: no such parent" "invalid subinterface vlan name nope, example formatting is eth0.10" -d "$1" -o parent=nope
    refused "$1: no such parent of a VLAN" "-o parent interface was not found on the host: nope" -d "$1" -o parent=nope.10
    refused "$1: VLAN 4095" "vlan id must be between 1-4094, received: 4095" -d "$1" -o parent=up0.4095
    refused "$1: VLAN 0" "vlan id must be between 1-4094, received: 0" -d "$1" -o parent=up0.0
    refused "$1: a VLAN that is no number" "unable to parse a valid vlan id from: ten (ex. eth0.10 for vlan 10)" -d "$1" -o parent=up0.ten
    refused "$1: a VLAN of a VLAN" \
        "required interface name format is: name.vlan_id, ex. eth0.10 for vlan 10, instead received up0.10.20" -d "$1" -o parent=up0.10.20
}

macvlan_refusals() {
    refused "macvlan: a wrong mode" "requested macvlan mode 'vepo' is not valid, 'bridge' mode is the macvlan driver default" \
        -d macvlan -o parent=up0 -o macvlan_mode=vepo
    parents macvlan
}

section_ipvlan() {
    lan
    ipvlan_flat
    ipvlan_flags
    ipvlan_routed l3
    ipvlan_routed l3s
    ipvlan_vlan
    internal ipvlan di-
    internal ipvlan di- -o ipvlan_mode=l3
    subnets ipvlan
    ipvlan_refusals
    unlan ipvlan
}

ipvlan_flat() {
    net flat -d ipvlan --subnet 10.7.0.0/24 --gateway 10.7.0.1 --ipv6 --subnet fd07::/64 --gateway fd07::1 -o parent=up0
    is "ipvlan: inspect" 'ipvlan local false {"parent":"up0"}' \
        "$(c network inspect --format '{{.Driver}} {{.Scope}} {{.Internal}} {{json .Options}}' flat 2>&1)"
    box one flat --ip 10.7.0.11 --ip6 fd07::11
    box two flat -p 8080:80
    reach "ipvlan: the other host" one 10.7.0.1
    reach "ipvlan: the other host, IPv6" one fd07::1
    has "ipvlan: from the other host" " 0% packet loss" "$(far ping -A -c 2 -W 5 10.7.0.11 2>&1)"
    reach "ipvlan: another container" one "$(address two flat)"
    reach "ipvlan: another container by its name" two one
    reach "ipvlan: through the gateway" one 10.99.0.1
    before_name=$(asked)
    c exec one nslookup -type=a example.test >/dev/null 2>&1
    between "ipvlan: names that are not known are asked for" $((before_name + 1)) $((before_name + 100)) "$(asked)"
    is "ipvlan: default route" "default via 10.7.0.1 dev eth0" "$(defaults one -4)"
    has "ipvlan: default route, IPv6" "default via fd07::1 dev eth0" "$(defaults one -6)"
    is "ipvlan: the parent's Ethernet address" "$(cat /sys/class/net/up0/address)" "$(c exec one cat /sys/class/net/eth0/address 2>&1)"
    is "ipvlan: ports are not published" "" "$(c port two 2>&1)"
    is "ipvlan: one network a parent" \
        "Error response from daemon: network di-$(c network inspect --format '{{.Id}}' flat | cut -c 1-12) is already using parent interface up0" \
        "$(c network create -d ipvlan -o parent=up0 never 2>&1)"
    net mac -d macvlan --subnet 10.5.0.0/24 -o parent=up0
    has "ipvlan: no macvlan beside it" "failed to create the macvlan port: " "$(c run --rm --network mac busybox true 2>&1)"
    no_net mac
    c network disconnect flat one >/dev/null
    is "ipvlan: disconnected" "lo" "$(c exec one ls /sys/class/net 2>&1)"
    c network connect --ip 10.7.0.12 flat one >/dev/null
    reach "ipvlan: connected again" one 10.7.0.1
    c restart -t 0 one >/dev/null
    reach "ipvlan: restarted" one 10.7.0.1
    murder "$daemon"
    start_daemon
    reach "ipvlan: after the daemon was killed" one 10.7.0.1
    c network disconnect flat two >/dev/null
    c network connect flat two >/dev/null
    reach "ipvlan: connected by another daemon" two 10.7.0.12
    clean one two
    has "ipvlan: no Ethernet address of the user's" "ipvlan interfaces do not support custom mac address assignment" \
        "$(c run --rm --network flat --mac-address 02:00:00:00:00:99 busybox true 2>&1)"
    no_net flat
    is "ipvlan: the parent stays" there "$(there up0)"
}

ipvlan_flags() {
    for flag in bridge private vepa; do
        net lan -d ipvlan --subnet 10.7.0.0/24 --gateway 10.7.0.1 -o parent=up0 -o ipvlan_mode=l2 -o ipvlan_flag=$flag
        is "ipvlan $flag: inspect" "{\"ipvlan_flag\":\"$flag\",\"ipvlan_mode\":\"l2\",\"parent\":\"up0\"}" \
            "$(c network inspect --format '{{json .Options}}' lan 2>&1)"
        box one lan --ip 10.7.0.11
        box two lan --ip 10.7.0.12
        reach "ipvlan $flag: the other host" one 10.7.0.1
        case $flag in
        bridge) reach "ipvlan bridge: each other" one 10.7.0.12 ;;
        *) apart "ipvlan $flag: not each other" one 10.7.0.12 ;;
        esac
        clean one two
        no_net lan
    done
}

# ipvlan_routed MODE: subnets that the cable knows nothing of.
ipvlan_routed() {
    ip addr add 10.7.0.254/24 dev up0
    far ip route add 10.20.0.0/16 via 10.7.0.254
    net routed -d ipvlan --subnet 10.20.1.0/24 --subnet 10.20.2.0/24 -o parent=up0 -o ipvlan_mode="$1"
    box one routed --ip 10.20.1.10
    box two routed --ip 10.20.2.10
    box three routed --ip 10.20.1.11
    is "ipvlan $1: default route" "default dev eth0" "$(defaults one -4 | sed 's/ scope link//')"
    is "ipvlan $1: no gateway" "" "$(ask one '{{.NetworkSettings.Networks.routed.Gateway}}')"
    reach "ipvlan $1: in a subnet" one 10.20.1.11
    reach "ipvlan $1: from one subnet to another" one 10.20.2.10
    reach "ipvlan $1: the other host" one 10.7.0.1
    reach "ipvlan $1: behind the other host" two 10.7.0.1
    has "ipvlan $1: from the other host" " 0% packet loss" "$(far ping -A -c 2 -W 5 10.20.2.10 2>&1)"
    is "ipvlan $1: no broadcasts" "NOARP" "$(c exec one ip -o link show eth0 2>&1 | grep -o NOARP)"
    clean one two three
    no_net routed
    far ip route del 10.20.0.0/16
    ip addr del 10.7.0.254/24 dev up0
}

ipvlan_vlan() {
    net v10 -d ipvlan --subnet 10.8.0.0/24 --gateway 10.8.0.1 -o parent=up0.10
    has "ipvlan: VLAN made" "VID: 10" "$(cat /proc/net/vlan/up0.10 2>&1)"
    box one v10
    reach "ipvlan: the other host over a VLAN" one 10.8.0.1
    murder "$daemon"
    start_daemon
    reach "ipvlan: over a VLAN after the daemon was killed" one 10.8.0.1
    clean one
    no_net v10
    is "ipvlan: VLAN removed" gone "$(there up0.10)"
}

ipvlan_refusals() {
    refused "ipvlan: a wrong mode" "requested ipvlan mode 'l4' is not valid, 'l2' mode is the ipvlan driver default" \
        -d ipvlan -o parent=up0 -o ipvlan_mode=l4
    refused "ipvlan: a wrong flag" "requested ipvlan flag 'x' is not valid, 'bridge' is the ipvlan driver default" \
        -d ipvlan -o parent=up0 -o ipvlan_flag=x
    parents ipvlan
}
