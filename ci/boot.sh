#!/usr/bin/env bash
# Boots a Debian kernel under qemu and runs static programs in it.
#
#     ci/boot.sh [--disabled N] [--dir PATH]… [--seconds S] VERSION PROGRAM…
#
#   VERSION        5.10, 6.1 or 6.12: the newest cloud kernel of that line that apt offers
#   PROGRAM        one argument each: a static x86-64 binary and its arguments, split at blanks
#   --disabled N   sets kernel.io_uring_disabled first (6.6 and later have it)
#   --dir PATH     an empty directory that the programs expect; may be repeated
#   --seconds S    bound on the whole run (300)
#
# After each program comes a line `boot: exit CODE PROGRAM`. Exit code: 0 if every program gave 0,
# 1 if one did not, 2 for wrong usage, 3 if the guest died or ran out of time, 77 if this machine
# cannot do it (the message names what to install).
#
# There is no hardware acceleration, so that it works inside virtual machines and containers: code
# runs some ten times slower. The guest has two CPUs on a NUMA node each, loopback, and all its
# files in memory. Kernels are kept in ${XDG_CACHE_HOME:-~/.cache}/corering-kernels; remove that
# folder to get newer ones.
# A Rust program becomes static with
#     RUSTFLAGS="-C target-feature=+crt-static" cargo build --target x86_64-unknown-linux-gnu
set -euo pipefail

cache=${XDG_CACHE_HOME:-$HOME/.cache}/corering-kernels
seconds=300
disabled=
dirs=()

usage() { sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//p}' "$0"; }
wrong() { echo "boot: $1" >&2; usage >&2; exit 2; }
unable() { echo "boot: cannot run here: $1" >&2; exit 77; }

while [ $# -gt 0 ]; do
    case $1 in
        --disabled) disabled=${2:?a number}; shift 2 ;;
        --dir) dirs+=("${2:?a path}"); shift 2 ;;
        --seconds) seconds=${2:?a number}; shift 2 ;;
        --help) usage; exit 0 ;;
        -*) wrong "unknown option $1" ;;
        *) break ;;
    esac
done
[ $# -ge 2 ] || wrong "a version and at least one program are needed"
version=$1
shift
case $version in
    5.10) pattern='^linux-image-5\.10\.0-[0-9]+-cloud-amd64$' release=bullseye ;;
    6.1) pattern='^linux-image-6\.1\.[0-9]+-[0-9]+-cloud-amd64$' release=bookworm ;;
    6.12) pattern='^linux-image-6\.12\.[0-9]+.*-cloud-amd64$' release=trixie ;;
    *) wrong "no such kernel: $version (5.10, 6.1, 6.12)" ;;
esac

# Names the packages that are missing, all at once.
require_tools() {
    [ "$(uname -m)" = x86_64 ] || unable "the kernels and programs are x86-64"
    local missing=()
    command -v qemu-system-x86_64 >/dev/null || missing+=(qemu-system-x86)
    command -v cpio >/dev/null || missing+=(cpio)
    # A shared busybox would need its libraries in the guest.
    [ "$(dpkg-query -W -f '${Status}' busybox-static 2>/dev/null)" = "install ok installed" ] ||
        missing+=(busybox-static)
    [ ${#missing[@]} = 0 ] ||
        unable "apt-get install -y --no-install-recommends ${missing[*]}"
}

# Prints the options that make apt look at Debian's `release` through this machine's own mirrors,
# with lists of its own: nothing of the system's changes.
other_release_options() {
    local dir=$cache/apt-$1
    mkdir -p "$dir/lists/partial" "$dir/cache/archives/partial"
    # shellcheck disable=SC2016 # apt's own placeholders
    apt-get indextargets --format '$(ORIGIN) $(LABEL) $(REPO_URI)' 'Created-By: Packages' |
        sort -u | awk -v release="$1" -v key=/usr/share/keyrings/debian-archive-keyring.gpg '
            $1 == "Debian" {
                suite = $2 == "Debian-Security" ? release "-security" : release
                print "deb [signed-by=" key "] " $3 " " suite " main"
            }' >"$dir/sources.list"
    [ -s "$dir/sources.list" ] || return 1
    printf '%s\n' -o "Dir::Etc::sourcelist=$dir/sources.list" -o Dir::Etc::sourceparts=/dev/null \
        -o "Dir::State::lists=$dir/lists" -o "Dir::Cache=$dir/cache" \
        -o Acquire::Check-Valid-Until=false -o APT::Sandbox::User=root
}

newest_package() { apt-cache "$@" search "$pattern" | awk '{print $1}' | sort -V | tail -n 1; }

# Leaves the kernel in $cache/vmlinuz-$version.
fetch_kernel() {
    [ ! -e "$cache/vmlinuz-$version" ] || return 0
    mkdir -p "$cache"
    local package options=(-o APT::Sandbox::User=root)
    package=$(newest_package "${options[@]}")
    if [ -z "$package" ]; then
        local other
        other=$(other_release_options "$release") ||
            unable "apt knows no Debian mirror: run apt-get update on a Debian machine"
        mapfile -t options <<<"$other"
        apt-get "${options[@]}" -qq update >/dev/null || unable "apt-get update failed for $release"
        package=$(newest_package "${options[@]}")
    fi
    [ -n "$package" ] || unable "apt offers no cloud kernel $version: run apt-get update"
    echo "boot: downloading $package"
    local dir=$work/package
    mkdir -p "$dir"
    (cd "$dir" && apt-get "${options[@]}" -qq download "$package" >/dev/null) ||
        unable "apt-get download $package failed"
    dpkg-deb -x "$dir/$package"_*.deb "$dir/unpacked"
    # Renamed when whole, so that a run beside this one never sees half a kernel.
    mv "$dir"/unpacked/boot/vmlinuz-* "$cache/vmlinuz-$version.$$"
    mv "$cache/vmlinuz-$version.$$" "$cache/vmlinuz-$version"
}

# Packs busybox, the programs and an init into $work/initramfs.gz.
pack() {
    local root=$work/initramfs number=0 program path words
    mkdir -p "$root"/{bin,etc,proc,sys,dev,tmp,programs}
    # What getaddrinfo of a static glibc reads.
    echo "hosts: files" >"$root/etc/nsswitch.conf"
    echo "127.0.0.1 localhost" >"$root/etc/hosts"
    cp /usr/bin/busybox "$root/bin/" 2>/dev/null || cp /bin/busybox "$root/bin/"
    ln -s busybox "$root/bin/sh"
    for path in ${dirs[@]+"${dirs[@]}"}; do mkdir -p "$root/$path"; done
    for program in "$@"; do
        read -ra words <<<"$program"
        number=$((number + 1))
        path=programs/$number/$(basename "${words[0]}")
        mkdir -p "$root/programs/$number"
        # Debug information is most of a test binary, and the guest unpacks all of it into memory.
        strip --strip-debug -o "$root/$path" "${words[0]}" 2>/dev/null ||
            cp "${words[0]}" "$root/$path" || wrong "no such program: ${words[0]}"
        chmod 755 "$root/$path"
        echo "/$path ${words[*]:1}" >>"$root/programs/list"
    done
    cat >"$root/init" <<INIT
#!/bin/sh
/bin/busybox --install -s /bin
export PATH=/bin HOME=/ TMPDIR=/tmp RUST_BACKTRACE=1
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mount -t tmpfs tmp /tmp
ifconfig lo 127.0.0.1 up
ulimit -n 65536
echo 0 >/proc/sys/kernel/printk
[ -z "$disabled" ] || echo $disabled >/proc/sys/kernel/io_uring_disabled
echo "boot: kernel \$(uname -r)"
while read -r path args; do
    "\$path" \$args </dev/null
    echo "boot: exit \$? \${path##*/} \$args"
done </programs/list
echo "boot: done"
poweroff -f
INIT
    chmod 755 "$root/init"
    (cd "$root" && find . | cpio -o -H newc --quiet | gzip -1) >"$work/initramfs.gz"
}

boot() {
    timeout --kill-after=5 "$seconds" qemu-system-x86_64 \
        -accel tcg,thread=multi -cpu max -smp 2 -m 1024 -nodefaults -display none -no-reboot \
        -object memory-backend-ram,id=memory0,size=512M -numa node,cpus=0,memdev=memory0 \
        -object memory-backend-ram,id=memory1,size=512M -numa node,cpus=1,memdev=memory1 \
        -serial stdio -kernel "$cache/vmlinuz-$version" -initrd "$work/initramfs.gz" \
        -append "console=ttyS0 quiet panic=-1 mitigations=off" </dev/null 2>&1 |
        sed -u -e 's/\x1b[^a-zA-Z]*[a-zA-Z]//g' -e 's/\r//g'
}

# Shows the guest's lines and remembers what they say about exit codes.
watch() {
    local line failed=0 finished=0 started=0
    while IFS= read -r line; do
        printf '%s\n' "$line"
        case $line in
            *"boot: kernel "*) started=1 ;;
            *"boot: exit 0 "*) ;;
            *"boot: exit "*) failed=1 ;;
            *"boot: done") finished=1 ;;
        esac
    done
    [ $started = 1 ] || return 4
    [ $finished = 1 ] || { echo "boot: the guest died or ran out of $seconds s" >&2; return 3; }
    return $failed
}

require_tools
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fetch_kernel
pack "$@"
# A kernel that patches its own code at its start, while the other emulated processor runs it, dies
# of that now and then. No test has begun then, so it is booted again.
for attempt in 1 2 3; do
    code=0 start=$SECONDS
    # A guest that runs out of time makes `timeout` fail; `watch` says so.
    { boot || true; } | watch || code=$?
    [ $code = 4 ] || exit $code
    echo "boot: the kernel did not come up ($attempt of 3)" >&2
    [ $((SECONDS - start)) -lt "$seconds" ] || break
done
exit 3
