//! The one reader of dpkg's status file, and of apt's package indexes, which are written alike:
//! paragraphs of fields (deb822(5)). From text alone, wherever it comes from.

/// Where a root file system has dpkg's database.
pub const STATUS: &str = "var/lib/dpkg/status";

/// Longest status file or package index that is read, bytes. Debian's largest index has a
/// quarter of it.
pub const LONGEST: u64 = 256 << 20;

/// One package's fields.
#[derive(Debug, Clone, Copy)]
pub struct Paragraph<'a>(&'a str);

impl<'a> Paragraph<'a> {
    /// What stands behind `name: ` on its line, to its very end; `None` without that field or with
    /// nothing there. Lines that go on with a value are left out.
    pub fn field(self, name: &str) -> Option<&'a str> {
        let of = |line: &'a str| line.strip_prefix(name)?.strip_prefix(": ");
        self.0
            .lines()
            .find_map(of)
            .filter(|value| !value.is_empty())
    }

    /// Whether the package's files are there: `Status` is "want flag state".
    pub fn is_installed(self) -> bool {
        self.field("Status")
            .is_some_and(|status| status.ends_with(" installed"))
    }

    /// Name, version and architecture, which every installed package has.
    pub fn id(self) -> Option<(&'a str, &'a str, &'a str)> {
        Some((
            self.field("Package")?,
            self.field("Version")?,
            self.field("Architecture")?,
        ))
    }
}

/// All paragraphs of `text`.
pub fn paragraphs(text: &str) -> impl Iterator<Item = Paragraph<'_>> {
    text.split("\n\n")
        .filter(|text| !text.trim().is_empty())
        .map(Paragraph)
}

/// The paragraphs of the packages that are installed, by dpkg's `status` file.
pub fn installed(status: &str) -> impl Iterator<Item = Paragraph<'_>> {
    paragraphs(status).filter(|package| package.is_installed())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_installed_counts() {
        let status = "Package: b\nStatus: install ok installed\nConffiles:\n /etc/b 0\n\
                      Description: what it is \n Version: not this\nVersion: 1\nArchitecture: all\n\n\
                      Package: a\nStatus: deinstall ok config-files\nVersion: 1\n\n\n\
                      Package: c\nStatus: hold ok installed\nVersion: 2:1\n\n";
        let found: Vec<_> = installed(status).collect();
        let names: Vec<_> = found.iter().filter_map(|p| p.field("Package")).collect();
        assert_eq!(names, ["b", "c"]);
        assert_eq!(found[0].id(), Some(("b", "1", "all")));
        assert_eq!((found[0].field("Conffiles"), found[1].id()), (None, None));
        assert_eq!(found[0].field("Pack"), None);
        assert_eq!(found[0].field("Description"), Some("what it is "));
        assert_eq!(paragraphs(status).count(), 3);
    }
}
