# Volumes on a file server, which is the kernel's own. Read by guest.sh.

# Exports /srv without programs: what they would answer when the kernel asks is told in advance.
serve() {
    never=2147483647
    mkdir -p /srv/sub
    echo served >/srv/file
    chmod 777 /srv /srv/sub
    mount -t nfsd nfsd /proc/fs/nfsd
    # Who is asking, what its root is, and what may be done there: unprivileged ports, no checks of
    # parent directories, a number instead of a disk's.
    echo "nfsd 127.0.0.1 $never all" >/proc/net/rpc/auth.unix.ip/channel
    echo "all 1 \\x00000000 $never /srv" >/proc/net/rpc/nfsd.fh/channel
    echo "all /srv $never $((0x2412)) 65534 65534 0" >/proc/net/rpc/nfsd.export/channel
    echo "-2 -3 +4 +4.1 +4.2" >/proc/fs/nfsd/versions
    echo 10 >/proc/fs/nfsd/nfsv4leasetime
    echo 10 >/proc/fs/nfsd/nfsv4gracetime
    echo 2 >/proc/fs/nfsd/threads
}

section_nfs() {
    serve
    c volume create -o type=nfs -o o=addr=127.0.0.1,rw,nfsvers=4.2 -o device=:/ served >/dev/null
    is "nfs: nothing is mounted before it is used" 0 "$(grep -c ' nfs4 ' /proc/mounts)"
    is "nfs: a file of the server's" served "$(c run --rm -v served:/v busybox cat /v/file 2>&1)"
    c run --rm -v served:/v busybox sh -c 'echo written >/v/new' 2>&1
    is "nfs: a file is written" written "$(cat /srv/new 2>&1)"
    is "nfs: what it is" nfs4 "$(c run --rm -v served:/v busybox sh -c 'grep " /v " /proc/mounts | cut -d " " -f 3' 2>&1)"
    c volume create -o type=nfs -o o=addr=127.0.0.1,rw,nfsvers=4.2 -o device=:/none missing >/dev/null
    has "nfs: a directory that the server has not" "nfsvers=4.2: no such file or directory" "$(c run --rm -v missing:/v busybox true 2>&1)"
    c volume create -o type=nfs -o o=addr=127.0.0.1,ro,nfsvers=4.2 -o device=:/sub read >/dev/null
    has "nfs: for reading only" "Read-only file system" "$(c run --rm -v read:/v busybox touch /v/x 2>&1)"
    c run -d --name user -v served:/v busybox sleep 100000 >/dev/null
    murder "$daemon"
    start_daemon
    is "nfs: after the daemon was killed" written "$(c exec user cat /v/new 2>&1)"
    clean user
    is "nfs: nothing is mounted after it was used" 0 "$(grep -c ' nfs4 ' /proc/mounts)"
    c volume rm served missing read >/dev/null
    echo 0 >/proc/fs/nfsd/threads
    umount /proc/fs/nfsd
}
