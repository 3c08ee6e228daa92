//! Programs run natively, and nobody in the chroot can tell.

use crate::fixture::Fixture;

/// `machine` is what the ELF header's machine field must be, in hexadecimal.
fn sees_arm_everywhere(arch: &str, names: &str, machine: &str) {
    let f = Fixture::with_base(arch);
    f.file(
        "stage0/00-look/00-run-chroot.sh",
        &format!(
            r#"
case "$(uname -m)" in {names}) ;; *) echo "uname says $(uname -m)"; exit 1 ;; esac
[ "$(dpkg --print-architecture)" = {arch} ]
[ "$(sh -c 'uname -m')" = "$(uname -m)" ]
for file in /bin/sh /bin/bash /usr/bin/dpkg /bin/cat /usr/bin/perl; do
	found=$(od -An -tx1 -j18 -N1 "$file" | tr -d ' ')
	[ "$found" = {machine} ] || {{ echo "$file is for $found"; exit 1; }}
done
cp /bin/sh /root/sh
[ "$(sha256sum </bin/sh)" = "$(sha256sum </root/sh)" ]
cmp /bin/sh /root/sh
/root/sh -c 'echo a copy runs'
perl -MConfig -e 'print "perl is $Config{{archname}}\n"' | tee /root/perl
grep -qE 'aarch64|arm' /root/perl
rm /root/perl
rm /root/sh
[ ! -e /.westwork-gen/usr/bin/qemu ]
"#
        ),
    );
    f.run(&["build"]).good();
}

#[test]
fn a_chroot_sees_arm_everywhere() {
    sees_arm_everywhere("arm64", "aarch64", "b7");
    sees_arm_everywhere("armhf", "arm*", "28");
}
