# include machine.sh
lib=@HOME@
before_install() { :; }
first_install() { enable_units sealane-manager.service; }
after_install() {
  make_users_and_folders sealane-manager
  prepare_files "$lib/bin/python3" "$lib" "$lib"
  reload_units
  ! running_systemd || systemctl restart sealane-manager.service
}
before_removal() { stop_units sealane-manager.service; }
after_removal() {
  rm -rf "$lib"
  reload_units
}
# The fleet's keys are never removed: without them no device can be led any more.
purge() { [ ! -d /var/lib/sealane ] || echo "sealane-manager: the fleet's keys stay in /var/lib/sealane" >&2; }
