//! Which packages a root was made of, with where each can be had.

use super::Package;
use crate::archives::mirror::Mirrors;
use crate::archives::pool::File;
use crate::base::dpkg;
use crate::base::inside::Root;
use anyhow::{Context, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// Where apt keeps the package indexes in a root file system.
pub const LISTS: &str = "var/lib/apt/lists";

/// Longest log of dpkg and list of sources that are read, bytes.
const LONGEST_LOG: u64 = 64 << 20;
const LONGEST_SOURCES: u64 = 1 << 20;

/// Name, version and architecture of a package.
pub(crate) type Id = (String, String, String);

/// What a package index says of a package.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Listed {
    pub(crate) source: String,
    pub(crate) path: String,
    pub(crate) priority: String,
    pub(crate) sha256: String,
    pub(crate) size: u64,
}

/// The packages of some root file systems.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Collected {
    /// Those that can be had again.
    pub packages: Vec<Package>,
    /// Those that no archive has, each with its version and the reason: the step that installs one
    /// has to keep its file.
    pub elsewhere: Vec<String>,
    /// Whether one of these came from an archive, and an index that an earlier step had may list it.
    pub unlisted: bool,
}

/// The packages that ever were in the root file systems `roots`: those that are there, and
/// those that a step took out again. Checksums are those of the files in the pool. Package indexes
/// are those of `roots`, then those of `earlier`, which are states that the roots once had.
///
/// # Errors
/// When a root cannot be read.
pub fn packages(
    roots: &[Root],
    earlier: &[Root],
    pool: &BTreeMap<String, Vec<File>>,
    mirrors: &Mirrors,
) -> Result<Collected> {
    let mut indexes = Vec::new();
    for root in roots.iter().chain(earlier) {
        indexes.push(listed(root, mirrors)?);
    }
    let mut ids = BTreeSet::new();
    for root in roots {
        ids.extend(installed(root)?);
    }
    let mut all = Collected::default();
    for (name, version, architecture) in ids {
        let mut package = Package {
            name,
            version,
            architecture,
            size: 0,
            sha256: String::new(),
            source: String::new(),
            path: String::new(),
            priority: String::new(),
        };
        let of_no_archive = |why: &str| format!("{} {} {why}", package.name, package.version);
        let Some(known) = pool.get(&package.file_name()) else {
            all.elsewhere
                .push(of_no_archive("was not installed by apt from an archive"));
            continue;
        };
        let id = (
            package.name.clone(),
            package.version.clone(),
            package.architecture.clone(),
        );
        let mut found = indexes.iter().filter_map(|index| {
            let found = index.get(&id)?;
            let file = known.iter().find(|file| file.sha256 == found.sha256)?;
            Some((found, file))
        });
        let Some((found, file)) = found.next() else {
            all.elsewhere.push(of_no_archive(
                "is not listed by any package index that a step left in the image",
            ));
            all.unlisted = true;
            continue;
        };
        (package.size, package.sha256) = (file.size, file.sha256.clone());
        package.source.clone_from(&found.source);
        package.path.clone_from(&found.path);
        package.priority.clone_from(&found.priority);
        all.packages.push(package);
    }
    Ok(all)
}

/// The packages whose files are in `debs`, with what the indexes of `root` say of them.
pub(crate) fn files(
    debs: &Path,
    root: &Root,
    pool: &BTreeMap<String, Vec<File>>,
    mirrors: &Mirrors,
) -> Result<Vec<Package>> {
    let listed = listed(root, mirrors)?;
    let mut packages = Vec::new();
    for entry in fs::read_dir(debs).with_context(|| format!("reading {}", debs.display()))? {
        let name = entry
            .with_context(|| format!("reading {}", debs.display()))?
            .file_name();
        let name = name.to_string_lossy();
        let (Some(id), Some(known)) = (id_of(&name), pool.get(&*name)) else {
            continue;
        };
        let found = listed.get(&id).cloned().unwrap_or_default();
        let file = known.iter().find(|file| file.sha256 == found.sha256);
        let Some(file) = file.or(known.first()) else {
            continue;
        };
        packages.push(Package {
            name: id.0,
            version: id.1,
            architecture: id.2,
            size: file.size,
            sha256: file.sha256.clone(),
            source: found.source,
            path: found.path,
            priority: found.priority,
        });
    }
    packages.sort();
    Ok(packages)
}

/// `NAME_VERSION_ARCH.deb`, with `:` of an epoch written as `%3a`.
pub(crate) fn id_of(file: &str) -> Option<Id> {
    let mut parts = file.strip_suffix(".deb")?.splitn(3, '_');
    let (name, version, architecture) = (parts.next()?, parts.next()?, parts.next()?);
    Some((
        name.to_owned(),
        version.replace("%3a", ":"),
        architecture.to_owned(),
    ))
}

/// Every package that dpkg's database or its log knows to have been installed.
fn installed(root: &Root) -> Result<BTreeSet<Id>> {
    let text = root
        .read_text(dpkg::STATUS, dpkg::LONGEST)?
        .context("finding dpkg's database in the root file system")?;
    let owned = |(name, version, architecture): (&str, &str, &str)| {
        (name.to_owned(), version.to_owned(), architecture.to_owned())
    };
    let ids = dpkg::installed(&text).filter_map(|package| package.id());
    let mut found: BTreeSet<Id> = ids.map(owned).collect();
    // Not every root has one.
    let log = root
        .read_text("var/log/dpkg.log", LONGEST_LOG)?
        .unwrap_or_default();
    for line in log.lines() {
        // dpkg(1): date time action name:arch old new. What a bootstrap installed is not in the
        // log, but its removal is.
        let words: Vec<&str> = line.split(' ').skip(2).collect();
        let (package, version) = match words.as_slice() {
            ["install" | "upgrade", package, _, new] => (package, new),
            ["remove" | "purge", package, old, _] if *old != "<none>" => (package, old),
            _ => continue,
        };
        if let Some((name, architecture)) = package.rsplit_once(':') {
            found.insert(owned((name, version, architecture)));
        }
    }
    Ok(found)
}

/// What the package indexes in the root say.
pub(crate) fn listed(root: &Root, mirrors: &Mirrors) -> Result<BTreeMap<Id, Listed>> {
    let sources = sources(root, mirrors)?;
    let mut listed = BTreeMap::new();
    for entry in root.entries(LISTS)? {
        let name = entry.name.to_string_lossy();
        let Some((base, _)) = name
            .split_once("_dists_")
            .filter(|_| name.ends_with("_Packages"))
        else {
            continue;
        };
        let source = sources.get(base).cloned().unwrap_or_default();
        let path = Path::new(LISTS).join(&entry.name);
        let text = root.read_text(path, dpkg::LONGEST)?.unwrap_or_default();
        for package in dpkg::paragraphs(&text) {
            let field = |name: &str| package.field(name).unwrap_or_default().to_owned();
            let id = (field("Package"), field("Version"), field("Architecture"));
            listed.insert(
                id,
                Listed {
                    source: source.clone(),
                    path: field("Filename"),
                    priority: field("Priority"),
                    sha256: field("SHA256"),
                    size: field("Size").parse().unwrap_or(0),
                },
            );
        }
    }
    Ok(listed)
}

/// Archives by the name that apt gives their lists: address, or `mirror` and `security`.
fn sources(root: &Root, mirrors: &Mirrors) -> Result<BTreeMap<String, String>> {
    let mut sources = BTreeMap::new();
    let dir = Path::new("etc/apt/sources.list.d");
    let files = root.entries(dir)?.into_iter();
    let files = files
        .map(|entry| dir.join(entry.name))
        .chain(["etc/apt/sources.list".into()]);
    for file in files {
        // What apt cannot read either counts for nothing here.
        let text = root.read_text(&file, LONGEST_SOURCES);
        let text = text.ok().flatten().unwrap_or_default();
        for word in text.split_whitespace().filter(|word| word.contains("://")) {
            let address = word.trim_end_matches('/');
            sources.insert(list_name(address), address.to_owned());
        }
    }
    for (alias, address) in [("security", &mirrors.security), ("mirror", &mirrors.build)] {
        sources.insert(list_name(address), alias.to_owned());
    }
    Ok(sources)
}

/// The beginning of a list's file name for an archive's address (apt's `URItoFileName`).
fn list_name(address: &str) -> String {
    let path = address.split_once("://").map_or(address, |(_, path)| path);
    let path = path.rsplit_once('@').map_or(path, |(_, path)| path);
    path.trim_end_matches('/')
        .replace('_', "%5f")
        .replace('/', "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_are_told_by_their_file_names() {
        let (name, version, architecture) = id_of("libc6_2%3a2.41-12_amd64.deb").unwrap();
        assert_eq!(
            (&*name, &*version, &*architecture),
            ("libc6", "2:2.41-12", "amd64")
        );
        assert_eq!(id_of("lock"), None);
    }

    fn known(sha256: &str, size: u64) -> Vec<File> {
        let sha256 = sha256.to_owned();
        vec![File { sha256, size }]
    }

    /// A root with a package that is there and one that was, its mirrors, and the pool.
    fn example() -> (tempfile::TempDir, Mirrors, BTreeMap<String, Vec<File>>) {
        let root = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write(
            "var/lib/dpkg/status",
            "Package: a\nStatus: install ok installed\nVersion: 1:2\nArchitecture: all\n\nPackage: gone\nStatus: deinstall ok config-files\nVersion: 1\nArchitecture: arm64\n",
        );
        write(
            "var/log/dpkg.log",
            "2026-01-01 00:00:00 startup archives unpack\n2026-01-01 00:00:00 purge gone:arm64 1 <none>\n2026-01-01 00:00:00 purge gone:arm64 <none> <none>\n2026-01-01 00:00:00 status installed gone:arm64 1\n",
        );
        write(
            "var/lib/apt/lists/mirror.example_a%5fb_dists_trixie_main_binary-arm64_Packages",
            "Package: a\nVersion: 1:2\nArchitecture: all\nFilename: pool/a.deb\nPriority: optional\nSize: 3\nSHA256: 11\n\nPackage: gone\nVersion: 1\nArchitecture: arm64\nFilename: pool/g.deb\nSize: 4\nSHA256: 22\n",
        );
        let mirrors = Mirrors::of_debian("http://mirror.example/a_b/".to_owned(), String::new());
        let pool = BTreeMap::from([
            ("a_1%3a2_all.deb".to_owned(), known("11", 3)),
            ("gone_1_arm64.deb".to_owned(), known("22", 4)),
        ]);
        (root, mirrors, pool)
    }

    #[test]
    fn what_is_there_and_what_was_there_is_found() {
        let (root, mirrors, mut pool) = example();
        let roots = [Root::open(root.path()).unwrap()];
        let found = packages(&roots, &[], &pool, &mirrors).unwrap();
        assert_eq!((found.packages.len(), found.elsewhere.len()), (2, 0));
        assert_eq!(
            (&*found.packages[0].source, &*found.packages[0].path),
            ("mirror", "pool/a.deb")
        );
        // One that was installed from a file: the rest is locked all the same.
        pool.remove("gone_1_arm64.deb");
        let found = packages(&roots, &[], &pool, &mirrors).unwrap();
        assert_eq!((found.packages.len(), found.unlisted), (1, false));
        assert_eq!(
            found.elsewhere,
            ["gone 1 was not installed by apt from an archive"]
        );
        // One that has other contents than its index says.
        pool.insert("gone_1_arm64.deb".to_owned(), known("33", 4));
        let found = packages(&roots, &[], &pool, &mirrors).unwrap();
        assert_eq!(
            found.elsewhere,
            ["gone 1 is not listed by any package index that a step left in the image"]
        );
        assert!(found.unlisted);
    }

    #[test]
    fn an_index_that_an_earlier_step_had_counts() {
        let (root, mirrors, pool) = example();
        let roots = [Root::open(root.path()).unwrap()];
        let found = packages(&roots, &[], &pool, &mirrors).unwrap();
        // The tree has put other sources in the place of the first ones since.
        let before = tempfile::tempdir().unwrap();
        let lists = "var/lib/apt";
        fs::create_dir_all(before.path().join("var/lib")).unwrap();
        fs::rename(root.path().join(lists), before.path().join(lists)).unwrap();
        let without = packages(&roots, &[], &pool, &mirrors).unwrap();
        assert!(without.unlisted && without.packages.is_empty());
        let earlier = [Root::open(before.path()).unwrap()];
        let again = packages(&roots, &earlier, &pool, &mirrors).unwrap();
        assert_eq!(found, again);
    }
}
