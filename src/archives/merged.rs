//! Releases in which no package has the links `/bin`, `/lib` and `/sbin` into `/usr`: whoever makes
//! a root file system makes them first.

/// The last release of this kind that is supported.
const LAST: &str = "bookworm";

/// Says to dpkg that the links are there, so that the package which would make them is not
/// installed; the real package of this name takes its place.
const HOOK: &str = r#"--setup-hook=set -e
for dir in DIRS; do
	mkdir -p "$1/usr/$dir"
	ln -s "usr/$dir" "$1/$dir"
done
printf '%s\n' 'Package: usr-is-merged' 'Status: install ok installed' 'Maintainer: nobody' \
	'Architecture: all' 'Multi-Arch: foreign' 'Version: 0' 'Description: stand-in' '' >>"$1/var/lib/dpkg/status"
mkdir -p "$1/var/lib/dpkg/info"
: >"$1/var/lib/dpkg/info/usr-is-merged.list""#;

/// mmdebstrap's options for a root of `release` with programs of `architectures`, by Debian's names.
pub fn options(release: &str, architectures: &str) -> Vec<String> {
    if release != LAST {
        return Vec::new();
    }
    let mut dirs = "bin sbin lib".to_owned();
    // Where the loader of these programs is.
    if architectures.split(',').any(|name| name == "amd64") {
        dirs += " lib64";
    }
    vec![
        HOOK.replace("DIRS", &dirs),
        "--include=usr-is-merged".to_owned(),
    ]
}
