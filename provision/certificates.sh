# The lab's own CA and the certificates it signs. Sourced by web.sh, whose $etc, say, fail, must_restart and
# into_place it uses.
#
# A key and its certificate lie in one file, NAME.pem, and so are replaced as one. Extensions are all named: left to
# itself, each OpenSSL adds other things, and Python from 3.13 on wants them all.
# shellcheck shell=bash disable=SC2154

# Whether NAME.pem stands, carries these extensions and lives for DAYS more: stands NAME EXTENSIONS DAYS
stands() {
    [ "$(cat "$etc/tls/$1.ext" 2>/dev/null)" = "$2" ] &&
        openssl x509 -in "$etc/tls/$1.pem" -noout -checkend $(($3 * 86400)) >/dev/null 2>&1
}

# A new key and its certificate: issue NAME COMMON_NAME DAYS EXTENSIONS [SIGNER…]; without a signer it signs itself.
issue() {
    local name=$1 common_name=$2 days=$3 extensions=$4 dir="$etc/tls" work
    shift 4
    rm -rf "$dir"/.new-*   # of a run that was cut off
    work=$(mktemp -d "$dir/.new-XXXXXX")
    echo "$extensions" > "$work/ext"
    [ $# -gt 0 ] || set -- -signkey "$work/key"
    {
        openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$work/key" &&
            openssl req -new -key "$work/key" -subj "/CN=$common_name" -out "$work/csr" &&
            openssl x509 -req -in "$work/csr" -days "$days" -extfile "$work/ext" "$@" -out "$work/crt"
    } 2> "$work/said" ||
        fail "openssl could not make the certificate of $common_name: $(cat "$work/said")"
    (umask 077; cat "$work/key" "$work/crt" > "$work/pem")
    must_restart nginx daphne   # before it is there: a run that is cut off between the two must not forget it
    into_place "$work/pem" "$dir/$name.pem"
    into_place "$work/ext" "$dir/$name.ext"
    rm -r "$work"
    say "certificate of $common_name"
}

# What the CA may sign: this lab's names and private addresses, for servers, and no further CA. Whoever has its key (those
# who are root here) can deceive those who trust it about nothing else.
authority() {
    local host dir="$etc/tls" name extensions public may='permitted;DNS:localhost,permitted;DNS:stacklab'
    for host in 127.0.0.0/255.0.0.0 10.0.0.0/255.0.0.0 172.16.0.0/255.240.0.0 192.168.0.0/255.255.0.0; do
        may="$may,permitted;IP:$host"
    done
    for host in "$@"; do
        case $host in
            localhost | *.stacklab | 127.* | 10.* | 192.168.* | 172.1[6-9].* | 172.2?.* | 172.3[01].*) ;;
            *:*) may="$may,permitted;IP:$host/ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff" ;;
            *[!0-9.]*) may="$may,permitted;DNS:$host" ;;
            *) may="$may,permitted;IP:$host/255.255.255.255" ;;
        esac
    done
    extensions="basicConstraints=critical,CA:TRUE,pathlen:0
keyUsage=critical,keyCertSign,cRLSign
extendedKeyUsage=serverAuth
nameConstraints=critical,$may
subjectKeyIdentifier=hash"
    if ! stands ca "$extensions" 400; then
        if [ -f "$dir/ca.crt" ]; then
            say "the lab has a new CA. Whoever trusts the old one should stop ('fab ca' says how)," \
                "SHA-256 $(openssl x509 -in "$dir/ca.crt" -noout -fingerprint -sha256 | cut -d= -f2)"
        fi
        name=$(hostname)
        issue ca "StackLab CA of $name" 3650 "$extensions"
    fi
    public=$(openssl x509 -in "$dir/ca.pem")
    [ "$public" = "$(cat "$dir/ca.crt" 2>/dev/null)" ] && return
    echo "$public" > "$dir/.ca.crt"
    into_place "$dir/.ca.crt" "$dir/ca.crt"
}

# A certificate of the lab's CA, for less than the 366 days that browsers and Mozilla's profile allow; renewed when a month
# is left: server NAME SUBJECT_ALT_NAMES
server() {
    local extensions="subjectAltName=$2
basicConstraints=critical,CA:FALSE
keyUsage=critical,digitalSignature
extendedKeyUsage=serverAuth
subjectKeyIdentifier=hash
authorityKeyIdentifier=keyid:always"
    # (Not by the clock, else one that was set back would have a new one made each time.)
    stands "$1" "$extensions" 30 &&
        openssl verify -no_check_time -x509_strict -CAfile "$etc/tls/ca.crt" "$etc/tls/$1.pem" >/dev/null 2>&1 && return
    issue "$1" "$1.stacklab" 365 "$extensions" -CA "$etc/tls/ca.pem" -CAkey "$etc/tls/ca.pem"
}

# Every address and name under which this machine is asked for; of IPv6 those by which somebody said to ask for it.
names() {
    local address name addresses
    # STACKLAB_ADDRESS: the name or address by which others know this machine, where it cannot know it itself.
    [ -z "${STACKLAB_ADDRESS:-}" ] || grep -qxF "$STACKLAB_ADDRESS" "$etc/address" 2>/dev/null ||
        echo "$STACKLAB_ADDRESS" >> "$etc/address"
    name=$(hostname)
    addresses=$(hostname -I)
    {
        printf '%s\n' localhost "$name" web.stacklab
        [ ! -e "$etc/address" ] || cat "$etc/address"
        for address in 127.0.0.1 $addresses; do
            case $address in *:*) ;; *) echo "$address" ;; esac
        done
    } | LC_ALL=C sort -u
}

# certificates HOST…: the CA, and the certificates of the site and of what stands behind nginx.
certificates() {
    local names
    authority "$@"
    names=$(printf '%s\n' "$@" | sed -E 's/^([0-9.]+|.*:.*)$/IP:\1/; t; s/^/DNS:/' | paste -sd,)
    server web "$names"
    server daphne "DNS:daphne.stacklab,IP:127.0.0.1"
    chown root:daphne "$etc/tls/daphne.pem"
    chmod 640 "$etc/tls/daphne.pem"
}
