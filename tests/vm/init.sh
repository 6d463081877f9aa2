#!/bin/busybox sh
# The first program of the virtual machine: leaves the initial file system, in which no container
# can be started because pivot_root(2) refuses it, for one in memory that is an ordinary mount.
/bin/busybox mkdir -p /new /proc
/bin/busybox mount -t tmpfs -o mode=755,size=80% tmpfs /new
/bin/busybox mv /vm /bin /new/
exec /new/bin/busybox switch_root /new /bin/busybox sh /vm/guest.sh
