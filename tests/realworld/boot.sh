#!/usr/bin/env bash
# boot.sh ROOT NAME NETNS [unified]: a Debian tree with its own systemd as PID 1, in a network namespace.
set -eu
root=$1 name=$2 netns=$3 options=()
# With the new control groups alone a unit's firewall holds, and without the old ones no limit of memory.
if [ "${4:-}" = unified ]; then
  export SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1
  options=(--system-call-filter=bpf --capability=all)
fi
groups=(/sys/fs/cgroup)
[ -e /sys/fs/cgroup/cgroup.controllers ] || groups=(/sys/fs/cgroup/systemd /sys/fs/cgroup/unified)
for group in "${groups[@]}"; do
  mkdir -p "$group/$name/payload" "$group/$name/supervisor"
  echo $$ > "$group/$name/cgroup.procs"
done
# nspawn wants /run to be a file system of its own; in a hybrid hierarchy it gives the box the old
# controllers read-only, and then no limit of a unit would hold.
exec unshare --mount --propagation private bash -c '
  mkdir -p /run/systemd/nspawn
  mount -t tmpfs -o mode=755 tmpfs /run/systemd/nspawn
  exec systemd-nspawn --quiet --directory="$0" --machine="$1" --network-namespace-path="/run/netns/$2" \
    "${@:3}" --register=no --keep-unit --kill-signal=SIGRTMIN+3 --console=pipe \
    --resolv-conf=off --timezone=off --link-journal=no \
    /bin/sh -c "
      for each in memory pids cpu cpuacct blkio devices freezer cpuset; do
        [ -d /sys/fs/cgroup/\$each ] || continue
        mount -o remount,rw /sys/fs/cgroup/\$each 2>/dev/null && continue
        umount /sys/fs/cgroup/\$each && mount -t cgroup -o \$each cgroup /sys/fs/cgroup/\$each
      done
      exec /sbin/init"
' "$root" "$name" "$netns" "${options[@]}" </dev/null
