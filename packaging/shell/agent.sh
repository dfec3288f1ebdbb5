# Versions of the agent lie side by side; `current` names the one that is started next.
lib=/usr/lib/sealane-agent
new=@HOME@
units="sealane-endpoint.service sealane-enroll.service sealane-agent.service"

# Keeps the files of the version that runs: the endpoint goes on with them until it is restarted.
keep_running() {
  [ -d "$lib" ] || return 0
  rm -rf "$lib/.kept"
  mkdir "$lib/.kept"
  for tree in "$lib"/*/; do
    name=$(basename "$tree")
    [ "$name" = current ] || [ ! -d "$tree" ] || cp -al "$tree" "$lib/.kept/$name"
  done
}

restore_kept() {
  [ -d "$lib/.kept" ] || return 0
  for kept in "$lib"/.kept/*/; do
    name=$(basename "$kept")
    if [ -d "$kept" ] && [ "$lib/$name" != "$new" ]; then
      rm -rf "${lib:?}/$name"
      mv "$kept" "$lib/$name"
    fi
  done
  rm -rf "$lib/.kept"
}

switch_to() {
  ln -sfn "$1" "$lib/current.new"
  mv -T "$lib/current.new" "$lib/current"
}

in_use() {
  for process in $(systemctl show --property MainPID --value sealane-endpoint.service sealane-agent.service); do
    grep -aqF "$1/" "/proc/$process/cmdline" 2>/dev/null && return 0
  done
  return 1
}

remove_unused() {
  for tree in "$lib"/*/; do
    tree=${tree%/}
    case $tree in "$lib/current" | "$new" | "$old") continue ;; esac
    in_use "$tree" || rm -rf "$tree"
  done
}

# Turns to the new version, and back when it does not come up; $1 starts units. The endpoint goes on.
bring_up() {
  old=$(readlink -f "$lib/current" || true)
  switch_to "$(basename "$new")"
  [ -d /run/systemd/system ] || return 0
  systemctl --system daemon-reload || true
  "$1" start sealane-endpoint.service >/dev/null || true
  # Not waited for: the manager may be out of reach
  [ ! -e /etc/sealane/join-token ] || systemctl --no-block start sealane-enroll.service || true
  if ! "$1" restart sealane-agent.service >/dev/null; then
    if [ -d "$old" ] && [ "$old" != "$new" ]; then
      echo "sealane-agent: the new version does not come up; the old one goes on" >&2
      switch_to "$(basename "$old")"
      "$1" restart sealane-agent.service >/dev/null || true
    fi
    return 1
  fi
  remove_unused
}
