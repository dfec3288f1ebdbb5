# include machine.sh
# include agent.sh
before_install() { keep_running; }
first_install() { enable_units $units; }
after_install() {
  make_users_and_folders sealane-agent
  restore_kept
  prepare_files "$new/bin/python3" "$new" "$lib"
  bring_up systemctl
}
before_removal() { stop_units sealane-agent.service sealane-enroll.service sealane-endpoint.service; }
after_removal() {
  rm -rf "$lib"
  reload_units
}
purge() {
  rm -rf /var/lib/sealane-agent
  rm -f /etc/sealane/join-token
}
