# include machine.sh
pack=@HOME@
# Restarts both: they are given the cards, and the agent asks what the engine finds.
restart_endpoint() {
  reload_units
  ! running_systemd || systemctl try-restart sealane-endpoint.service sealane-agent.service || true
}
before_install() { :; }
first_install() { :; }
after_install() {
  prepare_files /usr/lib/sealane-agent/current/bin/python3 "$pack" "$pack"
  restart_endpoint
}
before_removal() { :; }
after_removal() {
  rm -rf "$pack"
  restart_endpoint
}
purge() { :; }
