#!/bin/sh
# Runs a command with the files of a Pod: those of the machine, copy-on-write, with volumes over them. /run is empty, as in an image.
# Called in a mount namespace of its own.  usage: pod_root.sh DIRECTORY [SOURCE TARGET]... -- COMMAND...
set -eu
place="$1"; shift
mount -t tmpfs tmpfs "$place"
root="$place/root"
mkdir "$place/upper" "$place/work" "$root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$place/upper,workdir=$place/work" "$root"
for top in $(cut -d' ' -f2 /proc/self/mounts | cut -d/ -f2 | sort -u); do
    [ "$top" = run ] || [ ! -d "/$top" ] || mount --rbind "/$top" "$root/$top"
done
mount -t tmpfs tmpfs "$root/run"
# Targets are looked up inside: a link on the way to one, /var/run, must not lead out of the Pod.
mounts=""
number=0
while [ "$1" != -- ]; do
    if [ -d "$1" ]; then mkdir -p "$root/run/.volumes/$number"; else mkdir -p "$root/run/.volumes"; touch "$root/run/.volumes/$number"; fi
    mount --bind "$1" "$root/run/.volumes/$number"
    mounts="$mounts $number $2"
    number=$((number + 1))
    shift 2
done
shift
exec chroot "$root" sh -c '
    set -eu
    for word in $1; do
        if [ -z "${number:-}" ]; then number=$word; continue; fi
        if [ -d "/run/.volumes/$number" ]; then mkdir -p "$word"; else mkdir -p "${word%/*}"; touch "$word"; fi
        mount --bind "/run/.volumes/$number" "$word"
        number=
    done
    shift
    cd /
    exec "$@"' sh "$mounts" "$@"
