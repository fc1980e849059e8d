# shellcheck shell=bash
# What the lab's LAN offers besides the hosts, all on infra: two registries, the
# upstream resolver and one web server that stands for «outside».

registry_auth() {
    printf '{"auths":{"%s":{"auth":"%s"}}}\n' "$PRIVATE" \
        "$(printf '%s:%s' "$PRIVATE_USER" "$PRIVATE_PASSWORD" | base64 -w 0)"
}

registry_config() { # DIR PORT [HTPASSWD]
    cat <<EOF
version: 0.1
log: {level: warn, accesslog: {disabled: true}}
storage:
  filesystem: {rootdirectory: $1}
  delete: {enabled: true}
  maintenance: {uploadpurging: {enabled: false}}
http: {addr: "$INFRA_ADDRESS:$2"}
EOF
    [ -z "${3:-}" ] || echo "auth: {htpasswd: {realm: evenkeel-lab, path: $3}}"
}

infra_start() {
    local dir=$LAB/infra
    registry_config "$LAB/registry" 5000 >"$dir/registry.yml"
    registry_config "$LAB/private" 5001 "$dir/htpasswd" >"$dir/private.yml"
    htpasswd -Bbn "$PRIVATE_USER" "$PRIVATE_PASSWORD" >"$dir/htpasswd"
    # The telemetry exporter of newer registries wants to reach out: nothing is there.
    spawn_in infra registry.log env OTEL_TRACES_EXPORTER=none docker-registry serve "$dir/registry.yml"
    spawn_in infra private.log env OTEL_TRACES_EXPORTER=none docker-registry serve "$dir/private.yml"

    # Answers for names it knows, NXDOMAIN for all the rest, asks nobody.
    spawn_in infra dnsmasq.log dnsmasq --keep-in-foreground --conf-file=/dev/null \
        --log-facility=- --user=root --pid-file --no-resolv --no-hosts --no-poll \
        --listen-address="$INFRA_ADDRESS" --bind-interfaces --cache-size=0 \
        --local=/#/ --local-ttl=1 \
        --host-record="registry.lan,private.lan,outside.example,$INFRA_ADDRESS" \
        --txt-record=outside.example,lab

    mkdir -p "$dir/www/cgi-bin"
    echo outside >"$dir/www/index.html"
    # Who asks, as seen from outside: shows whether an address was masqueraded.
    cat >"$dir/www/cgi-bin/client" <<'EOF'
#!/bin/sh
printf 'Content-Type: text/plain\r\n\r\n%s\n' "$REMOTE_ADDR"
EOF
    chmod 755 "$dir/www/cgi-bin/client"
    spawn_in infra outside.log busybox httpd -f -p "$INFRA_ADDRESS:80" -h "$dir/www"
}

infra_answers() {
    enter_net infra curl -sf --max-time 2 -o /dev/null "http://$INFRA_ADDRESS:5000/v2/" &&
        enter_net infra curl -s --max-time 2 -o /dev/null "http://$INFRA_ADDRESS:5001/v2/" &&
        enter_net infra curl -sf --max-time 2 -o /dev/null "http://$INFRA_ADDRESS/" &&
        enter_net infra dig +time=1 +tries=1 +short "@$INFRA_ADDRESS" registry.lan | grep -q .
}
