# What installing does beside files, on a machine that has systemd or is only being built.
has() { command -v "$1" >/dev/null 2>&1; }
running_systemd() { [ -d /run/systemd/system ]; }

make_users_and_folders() {
  ! has systemd-sysusers || systemd-sysusers "$1.conf"
  ! has systemd-tmpfiles || systemd-tmpfiles --create "$1.conf"
}

# Bytecode, so that it starts as fast the first time; labels, where files have some.
prepare_files() {
  "$1" -I -m compileall -q -j 0 "$2" >/dev/null 2>&1 || true
  ! has restorecon || restorecon -R "$3" >/dev/null 2>&1 || true
}

enable_units() { ! has systemctl || systemctl enable "$@" >/dev/null 2>&1 || true; }

stop_units() {
  has systemctl || return 0
  systemctl disable "$@" >/dev/null 2>&1 || true
  ! running_systemd || systemctl stop "$@" || true
}

reload_units() { ! running_systemd || systemctl daemon-reload || true; }
