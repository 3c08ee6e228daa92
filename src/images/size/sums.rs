//! The sums over all files.

use super::{BESIDES, FileSize, Group, LONGEST_PATHS, PackageSize, Result, Sizes, directory};
use super::{HashMap, ensure};
use crate::images::image::packages::Package;
use std::cmp::Reverse;

/// Levels of directories by which files of no package are shown.
const LEVELS: usize = 3;

/// All files, in the order in which they were met.
#[derive(Default)]
pub(super) struct Collected {
    files: Vec<(String, u64, Option<u32>)>,
    packages: Vec<PackageSize>,
    size: u64,
    /// Bytes of all paths.
    paths: usize,
}

impl Collected {
    /// Bytes of all files so far.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// Says which packages there are. Owners are places in `names`.
    pub(super) fn packages(&mut self, names: &[String], installed: Vec<Package>) {
        let mut by_name: HashMap<String, Package> = HashMap::new();
        for package in installed {
            let full = format!("{}:{}", package.name, package.architecture);
            // Lists of packages that can be there for several architectures have it in their name.
            let key = if names.contains(&full) {
                full
            } else {
                package.name.clone()
            };
            by_name.insert(key, package);
        }
        for name in names {
            let found = by_name.remove(name);
            self.packages.push(match found {
                Some(package) => sized(package),
                None => PackageSize {
                    name: name.clone(),
                    architecture: String::new(),
                    version: String::new(),
                    size: 0,
                    count: 0,
                },
            });
        }
        let mut without_files: Vec<Package> = by_name.into_values().collect();
        without_files.sort();
        self.packages.extend(without_files.into_iter().map(sized));
    }

    /// Adds a file and its owner.
    pub(super) fn add(&mut self, path: String, size: u64, owner: Option<u32>) -> Result<()> {
        self.paths += path.len() + BESIDES;
        ensure!(
            self.paths <= LONGEST_PATHS,
            "there are more files than can be measured; the rest is left out"
        );
        self.size = self.size.saturating_add(size);
        let package = owner.and_then(|owner| self.packages.get_mut(owner as usize));
        if let Some(package) = package {
            package.size = package.size.saturating_add(size);
            package.count += 1;
        }
        self.files.push((path, size, owner));
        Ok(())
    }

    /// Writes all sums.
    pub(super) fn into_sizes(self, sizes: &mut Sizes) {
        let mut directories: HashMap<&str, (u64, u64)> = HashMap::new();
        let mut nobodys: HashMap<&str, (u64, u64)> = HashMap::new();
        for (path, size, owner) in &self.files {
            let within = directory(path);
            count(directories.entry(within).or_default(), *size, 1);
            if owner.is_none() {
                count(nobodys.entry(upper(within)).or_default(), *size, 1);
            }
        }
        let mut below: HashMap<&str, (u64, u64)> = HashMap::new();
        for (path, (size, number)) in directories {
            let mut path = path;
            loop {
                count(below.entry(path).or_default(), size, number);
                if path == "/" {
                    break;
                }
                path = directory(path);
            }
        }
        sizes.directories = groups(below);
        sizes.no_package = groups(nobodys);
        sizes.size = self.size;
        sizes.count = self.files.len() as u64;
        let name = |owner: u32| {
            let package = self.packages.get(owner as usize);
            package.map(|package| package.name.clone())
        };
        let files = self.files.into_iter().map(|(path, size, owner)| FileSize {
            path,
            size,
            package: owner.and_then(name),
        });
        sizes.files = files.collect();
        sizes
            .files
            .sort_by(|a, b| (b.size, &a.path).cmp(&(a.size, &b.path)));
        sizes.packages = self.packages;
        sizes
            .packages
            .sort_by(|a, b| (Reverse(a.size), &a.name).cmp(&(Reverse(b.size), &b.name)));
    }
}

fn sized(package: Package) -> PackageSize {
    PackageSize {
        name: package.name,
        architecture: package.architecture,
        version: package.version,
        size: 0,
        count: 0,
    }
}

fn count(sum: &mut (u64, u64), size: u64, number: u64) {
    sum.0 = sum.0.saturating_add(size);
    sum.1 += number;
}

/// The first levels of a path.
fn upper(path: &str) -> &str {
    let end = path.match_indices('/').nth(LEVELS).map(|(at, _)| at);
    &path[..end.unwrap_or(path.len())]
}

/// The sums by size.
fn groups(sums: HashMap<&str, (u64, u64)>) -> Vec<Group> {
    let groups = sums.into_iter().map(|(path, (size, count))| Group {
        path: path.to_owned(),
        size,
        count,
    });
    let mut groups: Vec<Group> = groups.collect();
    groups.sort_by(|a, b| (Reverse(a.size), &a.path).cmp(&(Reverse(b.size), &b.path)));
    groups
}
