# SPDX-License-Identifier: Apache-2.0
# Sourced. Mounts what a bare chroot lacks and programs, namespaces and labs need; `unmount_all` takes it away again.

mounted=()

is_mounted() { # where
  awk -v w="$1" '$2 == w {found = 1} END {exit !found}' /proc/mounts
}

mount_missing() { # type, where
  if [[ $(id -u) == 0 ]] && ! awk -v t="$1" -v w="$2" '$2 == w && $3 == t {found = 1} END {exit !found}' /proc/mounts 2>/dev/null; then
    mkdir -p "$2" 2>/dev/null
    if mount -t "$1" "$1" "$2"; then
      mounted=("$2" "${mounted[@]}")
    else
      echo "$0: $1 is not mounted at $2 and cannot be mounted there" >&2
    fi
  fi
}

mount_all() {
  mount_missing proc /proc
  mount_missing sysfs /sys
  mount_missing bpf /sys/fs/bpf
  # Labs give each node a cgroup of its own. A machine with the hybrid layout has cgroup2 elsewhere, and that will do.
  if ! awk '$3 == "cgroup2" {found = 1} END {exit !found}' /proc/mounts; then
    mount_missing cgroup2 /sys/fs/cgroup
  fi
  # `ip netns add` makes this a mount of its own, for good: here, only for as long as we run.
  if [[ $(id -u) == 0 ]] && ! is_mounted /run/netns; then
    mkdir -p /run/netns && mount --bind /run/netns /run/netns && mounted=(/run/netns "${mounted[@]}")
  fi
}

unmount_all() {
  local where
  for where in "${mounted[@]}"; do
    umount -l "$where"
  done
  mounted=()
}
